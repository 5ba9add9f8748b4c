"""Encryption at rest of what must not be readable in a backup: payment method tokens and e-mail addresses."""

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES = 12


class Undecryptable(Exception):
    """The key is not in the ring, or the value was altered or moved to another row."""


class Keyring:
    """AES-256-GCM under named keys: the first encrypts, every one decrypts, so a key is rotated by prepending.

    A value is `key id`, `:`, nonce, ciphertext and tag; `bound_to` (the row's id and column) is authenticated with
    it, so that a ciphertext copied to another row does not decrypt there.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise ValueError("a keyring needs at least one key")
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._secrets = tuple(keys.values())
        self._current = next(iter(keys))

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """`id:base64,id:base64`, each key 32 bytes. Raises ValueError."""
        keys: dict[str, bytes] = {}
        for entry in text.strip().split(","):
            name, _, encoded = entry.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError:
                key = b""
            if not name.isalnum() or len(key) != 32:
                raise ValueError("an encryption key is written `id:base64`, with 32 bytes behind the base64")
            keys[name] = key
        return cls(keys)

    def derived(self, purpose: str) -> list[bytes]:
        """A key for another purpose than encryption from each of the ring (HKDF, RFC 5869); the current one's first."""
        return [HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(secret) for secret in self._secrets]

    def encrypt(self, plain: str, *, bound_to: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._current].encrypt(nonce, plain.encode(), bound_to.encode())
        return self._current.encode() + b":" + nonce + sealed

    def decrypt(self, value: bytes, *, bound_to: str) -> str:
        """Raises Undecryptable."""
        name, _, rest = value.partition(b":")
        key = self._keys.get(name.decode("ascii", "replace"))
        if key is None:
            raise Undecryptable(f"no key {name!r} in the keyring")
        try:
            return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound_to.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Undecryptable("the stored value does not decrypt") from error
