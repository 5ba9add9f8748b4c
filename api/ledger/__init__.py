"""The books over HTTP: `/v1/ledger`, and the statements of merchants."""
