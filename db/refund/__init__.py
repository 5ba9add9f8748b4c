"""Refunds: from the request to the booking."""
