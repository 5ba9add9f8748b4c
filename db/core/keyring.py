"""Encryption at rest of what must not be readable in a dump: payment method tokens, what is known of people, and the
files of PSPs and banks."""

import base64
import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import ColumnElement, and_, func

_NONCE_BYTES = 12


class Undecryptable(Exception):
    """The key is not in the ring, or the value was altered or moved to another row."""


class Keyring:
    """AES-256-GCM under named keys: the first encrypts, every one decrypts, so a key is rotated by prepending.

    A value is `key id`, `:`, nonce, ciphertext and tag; `bound_to` (the row's id and column) is authenticated with
    it, so that a ciphertext copied to another row does not decrypt there.

    What is known of a person is encrypted under a key of that person's, which is stored wrapped by the ring: a value of
    it begins with the person's id in the place of the ring's key id, and nobody reads it once that key is gone.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise ValueError("a keyring needs at least one key")
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._secrets = tuple(keys.values())
        self.current = next(iter(keys))

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

    def derived_by_id(self, purpose: str) -> dict[str, bytes]:
        """The same as `derived`, by the ids of the keys that they are derived from; the current one's first."""
        return dict(zip(self._keys, self.derived(purpose), strict=True))

    def derived(self, purpose: str) -> list[bytes]:
        """A key for another purpose than encryption from each of the ring (HKDF, RFC 5869); the current one's first."""
        return [HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(secret) for secret in self._secrets]

    def encrypt(self, plain: str, *, bound_to: str) -> bytes:
        return self.encrypt_bytes(plain.encode(), bound_to=bound_to)

    def encrypt_bytes(self, plain: bytes, *, bound_to: str) -> bytes:
        return _sealed(self.current, self._keys[self.current], plain, bound_to)

    def decrypt(self, value: bytes, *, bound_to: str, person_key: bytes | None = None) -> str:
        """`person_key`: as it is stored, for a value that may be under it. Raises Undecryptable."""
        name = value.partition(b":")[0].decode("ascii", "replace")
        key = self._keys.get(name)
        if key is None and person_key is not None:
            key = self._of_person(name, person_key)
        if key is None:
            raise Undecryptable(f"no key {name!r} in the keyring")
        return _text(_opened(key, value, bound_to))

    def decrypt_bytes(self, value: bytes, *, bound_to: str) -> bytes:
        """Of a value under a key of the ring. Raises Undecryptable."""
        name = value.partition(b":")[0].decode("ascii", "replace")
        key = self._keys.get(name)
        if key is None:
            raise Undecryptable(f"no key {name!r} in the keyring")
        return _opened(key, value, bound_to)

    # --- keys of people ---

    def new_person_key(self, person_id: str) -> bytes:
        """A key for what is known of a person, as it is stored: wrapped."""
        return self.encrypt(base64.b64encode(secrets.token_bytes(32)).decode(), bound_to=_person_key(person_id))

    def encrypt_of(self, person_id: str, person_key: bytes, plain: str, *, bound_to: str) -> bytes:
        """Raises Undecryptable where the person's key was wrapped by a key that the ring has no more."""
        return _sealed(person_id, self._of_person(person_id, person_key), plain.encode(), bound_to)

    def _of_person(self, person_id: str, person_key: bytes) -> AESGCM:
        return AESGCM(base64.b64decode(self.decrypt(person_key, bound_to=_person_key(person_id))))

    def digests(self, purpose: str, text: str) -> list[bytes]:
        """Keyed digests by which a text is found that is stored encrypted, `key id:HMAC`: one under each key of the
        ring, the current one's first."""
        return [
            name.encode() + b":" + hmac.digest(key, text.encode(), hashlib.sha256)
            for name, key in zip(self._keys, self.derived(purpose), strict=True)
        ]


def not_under(column: ColumnElement[bytes], key: str) -> ColumnElement[bool]:
    """Whether a stored value or digest is under another key than the one of this id; false of nothing and of null."""
    prefix = key.encode() + b":"
    return and_(func.octet_length(column) > 0, func.substr(column, 1, len(prefix)) != prefix)


def _person_key(person_id: str) -> str:
    return f"{person_id}:key"


def _sealed(name: str, key: AESGCM, plain: bytes, bound_to: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return name.encode() + b":" + nonce + key.encrypt(nonce, plain, bound_to.encode())


def _opened(key: AESGCM, value: bytes, bound_to: str) -> bytes:
    rest = value.partition(b":")[2]
    try:
        return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError) as error:
        raise Undecryptable("the stored value does not decrypt") from error


def _text(plain: bytes) -> str:
    try:
        return plain.decode()
    except UnicodeDecodeError as error:
        raise Undecryptable("the stored value is no text") from error
