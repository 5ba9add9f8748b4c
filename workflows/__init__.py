"""The sagas: order, timeouts, compensation. Deterministic, without I/O."""
