"""Disputes over HTTP: `/v1/disputes`."""
