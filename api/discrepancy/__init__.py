"""Discrepancies over HTTP: `/v1/discrepancies`."""
