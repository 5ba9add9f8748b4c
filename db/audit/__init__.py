"""The money invariants, each one query that returns what violates it."""
