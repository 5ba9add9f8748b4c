"""Payouts over HTTP: `/v1/payouts`."""
