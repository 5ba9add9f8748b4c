"""A payment's explanation over HTTP: `/v1/payments/{id}/explain`."""
