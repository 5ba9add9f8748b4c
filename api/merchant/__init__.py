"""Merchants over HTTP: `/v1/merchants` and `/v1/wallets`."""
