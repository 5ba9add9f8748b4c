"""Disputes: from the bank's claim to its decision."""
