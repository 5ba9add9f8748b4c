"""What Temporal is given to keep: readable with a key of the ring, and nowhere else."""

from itertools import pairwise

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from db.core.keyring import Keyring, Undecryptable
from domain.messages import Nudge
from runtime.codec import ENCODING, KEY_ID, EncryptionCodec, data_converter
from tests.support import keys


def ring(*numbers: int) -> Keyring:
    return Keyring.parse(keys.ring(*numbers))


PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"reason":"buyer@example.com"}')


async def test_a_value_comes_back() -> None:
    converter = data_converter(ring(1))
    (payload,) = await converter.encode([Nudge(reason="buyer@example.com")])
    assert b"buyer" not in payload.SerializeToString()
    assert (payload.metadata["encoding"], payload.metadata[KEY_ID]) == (ENCODING, b"k1")
    assert await converter.decode([payload], [Nudge]) == [Nudge(reason="buyer@example.com")]


async def test_what_was_not_encrypted_is_read_as_it_is() -> None:
    """Of releases before, of Temporal itself, and mixed with what is."""
    codec = EncryptionCodec(ring(1))
    (sealed,) = await codec.encode([PLAIN])
    empty = Payload(metadata={"encoding": b"binary/null"})
    assert await codec.decode([PLAIN, sealed, empty, Payload()]) == [PLAIN, PLAIN, empty, Payload()]


async def test_each_process_reads_what_the_others_write_while_keys_are_rotated() -> None:
    """Added at the end everywhere first, then moved to the front: at each step any two processes share both keys."""
    steps = [ring(1), ring(1, 2), ring(2, 1), ring(2, 1, 3), ring(3, 2, 1)]
    for before, after in pairwise(steps):
        for one, other in ((before, after), (after, before)):
            assert await EncryptionCodec(other).decode(await EncryptionCodec(one).encode([PLAIN])) == [PLAIN]
    (oldest,) = await EncryptionCodec(ring(1)).encode([PLAIN])
    assert await EncryptionCodec(ring(3, 2, 1)).decode([oldest]) == [PLAIN]


async def test_what_is_altered_or_under_another_key_is_refused() -> None:
    codec = EncryptionCodec(ring(1))
    (sealed,) = await codec.encode([PLAIN])
    with pytest.raises(Undecryptable, match="'k1' in PAYSAGA_ENCRYPTION_KEYS"):
        await EncryptionCodec(ring(2)).decode([sealed])
    for place in range(len(sealed.data)):
        data = sealed.data[:place] + bytes([sealed.data[place] ^ 1]) + sealed.data[place + 1 :]
        with pytest.raises(Undecryptable):
            await codec.decode([Payload(metadata=sealed.metadata, data=data)])
    for metadata in ({"encoding": ENCODING}, {"encoding": ENCODING, KEY_ID: b"\xff"}):
        with pytest.raises(Undecryptable):
            await codec.decode([Payload(metadata=metadata, data=sealed.data)])


async def test_a_key_of_this_purpose_opens_no_row() -> None:
    (sealed,) = await EncryptionCodec(ring(1)).encode([PLAIN])
    with pytest.raises(Undecryptable):
        ring(1).decrypt(b"k1:" + sealed.data, bound_to="")


async def test_the_words_of_a_failure_and_of_its_causes_are_encrypted() -> None:
    converter, failure = data_converter(ring(1)), Failure()
    try:
        try:
            raise ValueError("buyer@example.com")
        except ValueError as error:
            raise ApplicationError("evidence: a doll", {"note": "the buyer called"}, type="NotPossible") from error
    except ApplicationError as error:
        await converter.encode_failure(error, failure)
    raw = failure.SerializeToString()
    assert not [word for word in (b"buyer", b"doll", b"test_codec.py") if word in raw]
    assert b"NotPossible" in raw, "which operators filter by"
    found = await converter.decode_failure(failure)
    assert isinstance(found, ApplicationError)
    assert (found.message, found.details[0]) == ("evidence: a doll", {"note": "the buyer called"})
    assert "buyer@example.com" in str(found.__cause__)
