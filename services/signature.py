"""Signatures of our own, under keys derived from the ring: what was handed out and comes back is as it was."""

import base64
import hashlib
import hmac

from db.core.keyring import Keyring


def sign(keyring: Keyring, purpose: str, message: bytes) -> str:
    """The signature of a message (HMAC-SHA256, base64url) under the current key; good for its `purpose` alone."""
    return _signatures(keyring, purpose, message)[0]


def is_signed(keyring: Keyring, purpose: str, message: bytes, signature: str) -> bool:
    """Whether any key of the ring has made it: what was signed outlives the rotation of keys."""
    given = signature.encode()
    return any(hmac.compare_digest(own.encode(), given) for own in _signatures(keyring, purpose, message))


def _signatures(keyring: Keyring, purpose: str, message: bytes) -> list[str]:
    digests = [hmac.digest(key, message, hashlib.sha256) for key in keyring.derived(purpose)]
    return [base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for digest in digests]
