"""Encryption keys of tests."""

import base64


def ring(*numbers: int) -> str:
    """`k1:…,k2:…`, always the same ones."""
    return ",".join(f"k{number}:{base64.b64encode(bytes([number]) * 32).decode()}" for number in numbers)


EVERY = ring(1, 2, 3, 4)
"""Of the servers that a run shares: whatever a test's own Paysaga encrypts with some of them is replayed at the end."""
