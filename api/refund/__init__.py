"""Refunds over HTTP: `/v1/refunds`."""
