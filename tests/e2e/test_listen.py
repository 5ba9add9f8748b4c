"""`paysaga listen` prints a tenant's events and forwards them signed; `paysaga trigger` makes one."""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.audit.command import paysaga_command
from tests.support.eventually import eventually
from tests.support.programs import Program
from tests.support.receiver import Receiver
from tests.support.shop import Shop


async def test_events_are_printed_and_forwarded_as_they_happen(shop: Shop, tmp_path: Path) -> None:
    environment, out = shop.paysaga.environment(), tmp_path / "out"
    async with Receiver() as receiver:
        words = ("listen", "--forward-to", receiver.url().removeprefix("http://"), "--tenant", shop.tenant)
        listening = await asyncio.to_thread(Program, "cli.main", *words, env=environment, out=out, err=tmp_path / "err")

        async def secret() -> str | None:
            found = re.search(r"whsec_\S+", out.read_text()) if out.exists() else None
            return found[0] if found else None

        try:
            made = await eventually(secret, what="the secret")
            triggered = await paysaga_command(
                environment, "trigger", "payment.succeeded", "--seller", "anna", "--api-key", shop.secret
            )
            assert triggered.code == 0, triggered.err
            (payment_id,) = re.findall(r"pay_\w+", triggered.out)

            async def told() -> bool:
                return receiver.of(payment_id) == ["payment.created", "payment.succeeded"]

            await eventually(told, what=f"what {payment_id} did")
            assert all(one.signed_by(made) for one in receiver.got)

            async def answered() -> bool:
                return bool(re.search(r"<-- \[200\] POST .*\[evt_", out.read_text()))

            await eventually(answered)
            printed = [line for line in out.read_text().splitlines() if payment_id in line]
            assert [re.findall(r"--> (\S+)", line)[0] for line in printed] == ["payment.created", "payment.succeeded"]
        finally:
            listening.send(signal.SIGINT)
            await listening.ended()


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://shop.example/", "ftp://127.0.0.1/"])
async def test_it_forwards_to_this_machine_or_over_https(shop: Shop, url: str) -> None:
    said = await paysaga_command(shop.paysaga.environment(), "listen", "--forward-to", url)
    assert said.code == 2
    assert "nothing is sent there" in said.err


async def test_what_cannot_be_triggered(shop: Shop) -> None:
    said = await paysaga_command(shop.paysaga.environment(), "trigger", "dispute.won")
    assert (said.code, "cannot be triggered" in said.err) == (1, True)
