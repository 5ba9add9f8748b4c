"""What is encrypted at rest: readable with its key in its place, and nowhere else."""

import base64

import pytest

from db.core.keyring import Keyring, Undecryptable


def key(byte: int) -> str:
    return base64.b64encode(bytes([byte]) * 32).decode()


RING = Keyring.parse(f"k1:{key(1)}")


def test_a_value_comes_back() -> None:
    sealed = RING.encrypt("pm_card_visa ü", bound_to="pay_1:token")
    assert RING.decrypt(sealed, bound_to="pay_1:token") == "pm_card_visa ü"
    assert b"pm_card" not in sealed
    assert sealed != RING.encrypt("pm_card_visa ü", bound_to="pay_1:token")


def test_it_does_not_decrypt_in_another_row() -> None:
    sealed = RING.encrypt("secret", bound_to="pay_1:token")
    for place in ("pay_2:token", "pay_1:email"):
        with pytest.raises(Undecryptable):
            RING.decrypt(sealed, bound_to=place)


def test_every_changed_byte_is_noticed() -> None:
    sealed = RING.encrypt("secret", bound_to="x")
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(Undecryptable):
            RING.decrypt(changed, bound_to="x")


@pytest.mark.parametrize(
    "sealed",
    [
        b"",
        b"k2:" + bytes(40),
        b"\xff:" + bytes(40),
        b"k1:" + bytes(12),
        b"k1",
        b"k1:",
        b"k1:short",
    ],
)
def test_what_was_never_encrypted(sealed: bytes) -> None:
    with pytest.raises(Undecryptable):
        RING.decrypt(sealed, bound_to="x")


def test_rotation() -> None:
    """Prepending a key encrypts under it and still reads the old; dropping the old one ends that."""
    old = RING.encrypt("secret", bound_to="x")
    rotated = Keyring.parse(f"k2:{key(2)}, k1:{key(1)}")
    assert rotated.decrypt(old, bound_to="x") == "secret"
    new = rotated.encrypt("secret", bound_to="x")
    assert new.startswith(b"k2:")
    alone = Keyring.parse(f"k2:{key(2)}")
    assert alone.decrypt(new, bound_to="x") == "secret"
    with pytest.raises(Undecryptable):
        alone.decrypt(old, bound_to="x")


@pytest.mark.parametrize(
    "text", ["", "k1", "k1:", ":", f":{key(1)}", "k1:AAAA", "k1:not base64!", f"k 1:{key(1)}", f"k1:{key(1)},"]
)
def test_a_setting_that_is_no_keyring(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Keyring.parse(text)


# --- people ---


def test_what_is_known_of_a_person_is_gone_with_the_key() -> None:
    person_key = RING.new_person_key("prs_1")
    sealed = RING.encrypt_of("prs_1", person_key, "a@example.com", bound_to="pay_1:email")
    assert RING.decrypt(sealed, bound_to="pay_1:email", person_key=person_key) == "a@example.com"
    other = RING.new_person_key("prs_1")
    for key_of_person, place in ((None, "pay_1:email"), (other, "pay_1:email"), (person_key, "pay_2:email")):
        with pytest.raises(Undecryptable):
            RING.decrypt(sealed, bound_to=place, person_key=key_of_person)


def test_a_key_of_a_person_is_wrapped_for_that_person() -> None:
    """Copied to another person's row it opens nothing."""
    with pytest.raises(Undecryptable):
        RING.encrypt_of("prs_2", RING.new_person_key("prs_1"), "a@example.com", bound_to="pay_1:email")


def test_a_digest_is_found_under_every_key_of_the_ring() -> None:
    both = Keyring.parse(f"k2:{key(2)},k1:{key(1)}")
    (old,) = RING.digests("address", "a@example.com")
    assert both.digests("address", "a@example.com")[1] == old
    assert old != RING.digests("another purpose", "a@example.com")[0]
    assert b"example" not in old
