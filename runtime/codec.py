"""The codec of Temporal's payloads: inputs, results, messages, details and failures leave this process encrypted.

A payload is encrypted as a whole, under a key derived from the current one of the keyring, whose id is in its metadata.
What is not encrypted is read as it is: histories of releases before this one, and what Temporal's UI sends.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from db.core.keyring import Keyring, Undecryptable

ENCODING = b"binary/encrypted"
"""As in Temporal's own samples: its UI knows by it what to ask the codec endpoint for."""
KEY_ID = "encryption-key-id"
_CIPHER = {"encryption-cipher": b"AES-256-GCM"}
_PURPOSE = "temporal payload"
_NONCE_BYTES = 12


class EncryptionCodec(PayloadCodec):
    """Encrypts with the ring's current key and decrypts with each. A few microseconds a payload: no thread is asked."""

    def __init__(self, keyring: Keyring) -> None:
        keys = keyring.derived_by_id(_PURPOSE)
        self._ciphers = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(self._ciphers))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises Undecryptable, which fails the workflow's task, not the workflow: it is tried again, and goes on once
        the key is there."""
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, payload.SerializeToString(), None)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: self._current, **_CIPHER}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata.get(KEY_ID, b"")
        cipher, data = self._ciphers.get(key_id), payload.data
        if cipher is None:
            name = key_id.decode("ascii", "replace")
            raise Undecryptable(f"there is no key {name!r} in PAYSAGA_ENCRYPTION_KEYS: put it back, at the end")
        try:
            return Payload.FromString(cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None))
        except (InvalidTag, ValueError, DecodeError) as error:
            raise Undecryptable("a payload was altered, or is under another key of this id") from error


def data_converter(keyring: Keyring) -> DataConverter:
    """The converter of every client and worker: pydantic's, encrypted, with the messages and traces of failures."""
    return replace(
        pydantic_data_converter,
        payload_codec=EncryptionCodec(keyring),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
