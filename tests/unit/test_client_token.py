"""Client tokens: what is signed, by which keys, and until when."""

import base64
import time
from dataclasses import replace

import pytest

from db.core.keyring import Keyring
from domain.errors import Unauthorized
from services.client_token import ClientToken
from services.signature import sign

OLD, NEW = (f"k{byte}:{base64.b64encode(bytes([byte]) * 32).decode()}" for byte in (1, 2))
RING = Keyring.parse(OLD)
TOKEN = ClientToken("shop", "pay_01kafm6e8q9v7s2c4n0b8k6h3j", 2_000_000_000)


def test_it_comes_back_as_it_was_handed_out() -> None:
    text = TOKEN.text(RING)
    assert ClientToken.read(text, RING) == TOKEN
    assert text == TOKEN.text(RING), "a replay hands out the same"
    assert "\n" not in text
    assert text.isascii()


def test_it_outlives_the_rotation_of_keys_until_the_old_one_goes() -> None:
    text = TOKEN.text(RING)
    assert ClientToken.read(text, Keyring.parse(f"{NEW},{OLD}")) == TOKEN
    assert TOKEN.text(Keyring.parse(f"{NEW},{OLD}")) == TOKEN.text(Keyring.parse(NEW)), "the first key signs"
    with pytest.raises(Unauthorized) as refused:
        ClientToken.read(text, Keyring.parse(NEW))
    assert refused.value.code == "client_token_invalid"


def test_what_we_did_not_sign_for_this_is_refused() -> None:
    text = TOKEN.text(RING)
    message, _, signature = text.removeprefix("ct_").partition(".")
    other = replace(TOKEN, payment_id="pay_01kafm6e8q9v7s2c4n0b8k6h3k").text(RING).partition(".")[0]
    for forged in (
        *("ct_", "ct_.", "ct_..", text[:-1], f"{text}=", f"{text}.", f"ct_{text}", text.partition(".")[0]),
        f"{other}.{signature}",
        f"ct_{message}.{sign(RING, 'signed link', message.encode())}",
        f"ct_{message}.{'A' * len(signature)}",
        f"ct_{'é' * 40}.{signature}",
        "ct_" + "A" * 20_000,
    ):
        with pytest.raises(Unauthorized):
            ClientToken.read(forged, RING)


def test_its_time_is_inside() -> None:
    now = time.time()
    assert 50 < replace(TOKEN, expires=int(now) + 60).left_s <= 60
    assert replace(TOKEN, expires=int(now) - 1).left_s < 0
