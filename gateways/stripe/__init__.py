"""Stripe behind the PSP protocol; nothing outside this folder knows its SDK."""
