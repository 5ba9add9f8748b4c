"""Payments and their orders: stored, charged, captured, settled, compensated, ended."""
