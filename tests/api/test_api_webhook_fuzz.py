"""Whatever bytes come to the webhook endpoint, signed or not: an answer that is described, and never a 5xx."""

import asyncio
import copy
import hashlib
import hmac
import json
import os
import random
import re
import time
from collections.abc import Callable
from typing import Any

from tests.support.shop import Shop

CASES = 10 * int(os.environ.get("PAYSAGA_FUZZ_EXAMPLES", "0")) or 280
"""As `make fuzz` sets it; else a few. The same ones at every run."""
AT_ONCE = 8
SECRET = b"whsec_test"
SEED = 20260701

ODD: list[Any] = [
    None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**40, 1e308, -0.0, 0.1, "", " ", "\x00", "a\x00b",
    "\ud800", "\udfff\ud800", "\U0010ffff", "\u202e", "é" * 300, "x" * 5000, "=1+1", "4242424242424242", "pi_1", "evt_",
    [], [[]], [None], {}, {"": ""}, {"id": None}, {"object": "event"}, {"data": {"object": {}}}, "NaN", "1e400",
]  # fmt: skip

KINDS = (
    "payment_intent", "charge", "refund", "dispute", "payout", "transfer", "account", "event", "v2.core.event",
)  # fmt: skip
WORDS = (
    "succeeded", "failed", "created", "updated", "closed", "paid", "canceled", "reversed", "requires_action",
    "dispute.created", "dispute.funds_withdrawn", "reconciliation_completed",
)  # fmt: skip

DIGITS = ("9" * 300, "9" * 4301, "9" * 100_000, "1e999", "-1e999", "NaN", "Infinity", "0x1", "01")

Case = tuple[bytes, dict[str, str]]


def event(pick: random.Random) -> dict[str, Any]:
    """An event that could be Stripe's, about an object that nobody knows."""
    kind = pick.choice(KINDS)
    number = f"{pick.getrandbits(64):x}"
    thing: dict[str, Any] = {
        "object": kind,
        "id": f"{kind[:2]}_{number}",
        "amount": pick.randrange(10**6),
        "amount_received": pick.randrange(10**6),
        "currency": pick.choice(("usd", "inr", "zzz")),
        "status": pick.choice(("succeeded", "failed", "needs_response", "lost", "paid")),
        "payment_intent": f"pi_{number}",
        "charge": {"id": f"ch_{number}", "object": "charge"},
        "metadata": {"paysaga_charge": f"ch_{number}", "paysaga_refund": f"re_{number}", "paysaga_payout": number},
        "last_payment_error": {"code": "card_declined"},
        "balance_transactions": [{"id": "txn_1", "amount": -5, "fee": 1, "currency": "usd"}],
        "evidence_details": {"due_by": pick.randrange(2**33)},
        "arrival_date": pick.randrange(2**33),
    }
    return {
        "id": f"evt_{number}",
        "object": pick.choice(("event", "event", "event", "v2.core.event")),
        "type": f"{kind}.{pick.choice(WORDS)}",
        "created": int(time.time()),
        "livemode": pick.random() < 0.1,
        "account": pick.choice((None, None, None, "acct_1")),
        "data": {"object": thing, "previous_attributes": {"status": "pending"}},
        "related_object": {"id": f"pi_{number}", "type": kind},
    }


def _changed(pick: random.Random) -> bytes:
    """One to three values in it are odd, missing, or in each other's place."""
    whole = event(pick)
    for _ in range(pick.randint(1, 3)):
        place: Any = whole
        while True:
            name = pick.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if not place[name] or not isinstance(place[name], dict | list) or pick.random() < 0.3:
                break
            place = place[name]
        if pick.random() < 0.15:
            del place[name]
        else:
            place[name] = pick.choice([*ODD, copy.deepcopy(whole)])
        if not place:
            break
    return json.dumps(whole).encode()


def _broken(pick: random.Random) -> bytes:
    """Bytes of it are lost, doubled, or others."""
    text = bytearray(json.dumps(event(pick)).encode())
    for _ in range(pick.randint(1, 8)):
        at = pick.randrange(len(text))
        how = pick.randrange(4)
        if how == 0:
            text[at] = pick.randrange(256)
        elif how == 1:
            del text[at : at + pick.randint(1, 20)]
        elif how == 2:
            text[at:at] = text[at : at + 50]
        else:
            text[at:at] = pick.randbytes(3)
        text = text or bytearray(b"x")
    return bytes(text)


def _random(pick: random.Random) -> bytes:
    return pick.randbytes(pick.choice((0, 1, 2, 10, 1000, 20_000)))


def _deep(pick: random.Random) -> bytes:
    """Lists or objects inside one another, whole or without an end."""
    depth = pick.choice((50, 900, 1100, 100_000))
    opening, closing = pick.choice(((b"[", b"]"), (b'{"data":', b"}")))
    inner = opening * depth + b"1" + closing * pick.choice((0, depth, depth - 1))
    return pick.choice((inner, json.dumps(event(pick))[:-1].encode() + b',"more":' + inner + b"}"))


def _numbers(pick: random.Random) -> bytes:
    """Numbers that nothing holds, where amounts, times and names are."""
    digits = pick.choice(DIGITS)
    where = pick.choice(("amount", "created", "arrival_date", "due_by", "fee", "id"))
    return re.sub(rf'"{where}": ("[^"]*"|[-0-9]+)', f'"{where}": {digits}', json.dumps(event(pick))).encode()


def _encoded(pick: random.Random) -> bytes:
    text = json.dumps(event(pick) | {"type": "é.créé"}, ensure_ascii=False)
    how = pick.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "utf-7", "cp037"))
    return text.encode(how)


def _doubled(pick: random.Random) -> bytes:
    """A name twice in one object, with another value."""
    text = json.dumps(event(pick))
    name = pick.choice(("id", "object", "type", "data", "created", "livemode", "metadata"))
    value = json.dumps(pick.choice(ODD))
    more = f'"{name}": {value}'
    return (f"{{{more}, {text[1:]}" if pick.random() < 0.5 else f"{text[:-1]}, {more}}}").encode()


MAKERS: tuple[Callable[[random.Random], bytes], ...] = (
    _changed, _changed, _changed, _broken, _random, _deep, _numbers, _encoded, _doubled,
)  # fmt: skip


WRONG = ("t=,v1=", "v1=00", f"t={10**30},v1=00", f"t=-1,v1={'0' * 64}", ",,,", "=", "x" * 8000, "é", "t=１,v1=0")


def signed(body: bytes) -> str:
    at = int(time.time())
    mac = hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def cases(count: int) -> list[Case]:
    pick = random.Random(SEED)
    made: list[Case] = []
    for _ in range(count):
        body = pick.choice(MAKERS)(pick)
        how = pick.random()
        if how < 0.7:
            headers = {"Stripe-Signature": signed(body)}
        elif how < 0.8:
            headers = {}
        else:
            wrong = (
                "t=,v1=",
                "v1=00",
                f"t={10**30},v1=00",
                "t=-1,v1=" + "0" * 64,
                ",,,",
                "=",
                "x" * 8000,
                "é",
                "t=１,v1=0",
            )
            headers = {"Stripe-Signature": pick.choice(wrong)}
        kind = pick.choice(("application/json", "text/plain", "application/json; charset=utf-16", ""))
        made.append((body, headers | ({"Content-Type": kind} if kind else {})))
    return made


async def test_every_answer_is_described_and_no_failure_is_ours(shop: Shop) -> None:
    places, http = asyncio.Semaphore(AT_ONCE), shop.paysaga.http
    seen: dict[int, int] = {}

    async def deliver(body: bytes, headers: dict[str, str]) -> None:
        async with places:
            encoded = {name.encode(): value.encode() for name, value in headers.items()}
            answer = await http.post("/webhooks/stripe", content=body, headers=encoded)
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 400), (body[:2000], headers, answer.text)
        if answer.status_code == 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] in {
                "webhook_malformed",
                "webhook_signature_invalid",
                "webhook_signature_missing",
            }
        else:
            assert "Stripe-Signature" in headers

    await asyncio.gather(*(deliver(*case) for case in cases(CASES)))
    assert min(seen.get(200, 0), seen.get(400, 0)) > CASES // 10, seen
    assert '"unhandled"' not in (shop.paysaga.folder / "api.log").read_text()
