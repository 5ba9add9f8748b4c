"""Webhooks to shops over HTTP."""
