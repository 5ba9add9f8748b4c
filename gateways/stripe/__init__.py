"""Stripe behind the PSP protocol; only this folder imports its SDK."""
