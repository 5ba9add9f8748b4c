"""The command about webhooks, which the terminal alone has: an event that was given up is delivered again."""

import secrets

import pytest

from tests.audit.command import paysaga_command
from tests.commands.conftest import BY, audit_log
from tests.support.shop import Shop


async def test_a_dead_event_is_delivered_again_once(shop: Shop) -> None:
    inbox_id = f"whk_{secrets.token_hex(13)}"
    await shop.paysaga.sql(
        "INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, status, attempts, charge_reference)"
        " VALUES ($1, $2, 'stripe', $1, 'charge.refunded', '{}', 'DEAD', 20, 'pi_unknown')",
        inbox_id,
        shop.tenant,
    )
    said = await paysaga_command(shop.paysaga.environment(), "webhooks", "replay", inbox_id, *BY)
    assert "is delivered again at the next sweep" in said.out, said.err
    (row,) = await shop.paysaga.sql("SELECT status, note FROM webhook_inbox WHERE id = $1", inbox_id)
    assert (row["status"], row["note"]) == ("RECEIVED", "replayed by olga")
    (logged,) = await audit_log(shop, inbox_id)
    assert (logged.actor, logged.action, logged.detail) == ("olga", "webhook.replay", {"event_id": inbox_id})
    again = await paysaga_command(shop.paysaga.environment(), "webhooks", "replay", inbox_id, *BY)
    assert (again.code, again.err) == (1, f"paysaga: There is no dead event {inbox_id}.\n")
    assert len(await audit_log(shop, inbox_id)) == 1
    await shop.paysaga.sql("UPDATE webhook_inbox SET status = 'IGNORED' WHERE id = $1", inbox_id)  # of no payment


@pytest.mark.parametrize("name", ["whk_none", "\x1b[31m", "'; --"])
async def test_what_is_no_dead_event_is_one_sentence(shop: Shop, name: str) -> None:
    said = await paysaga_command(shop.paysaga.environment(), "webhooks", "replay", name, *BY)
    assert said.code == 1
    assert "There is no dead event" in said.err


async def test_dead_events_of_one_moment_are_in_one_order(shop: Shop) -> None:
    ids = sorted(f"whk_{secrets.token_hex(13)}" for _ in range(5))
    for inbox_id in ids:
        await shop.paysaga.sql(
            "INSERT INTO webhook_inbox (id, tenant_id, psp, event_id, type, payload, status, received_at)"
            " VALUES ($1, $2, 'stripe', 'evt_' || $1, 'x', '{}', 'DEAD', '2031-01-01')",
            inbox_id,
            shop.tenant,
        )
    said = await paysaga_command(shop.paysaga.environment(), "webhooks", "dead", "--limit", "5")
    shown = [line.split()[0] for line in said.out.splitlines() if line.startswith("whk_")]
    assert shown == ids[::-1]
    await shop.paysaga.sql("UPDATE webhook_inbox SET status = 'IGNORED' WHERE id = ANY($1)", ids)
