"""`/v1/payments`: its routes and their shapes."""
