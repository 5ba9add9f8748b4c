"""Sinks of events, which the terminal alone has: they are of all tenants."""

import json

from tests.audit.command import paysaga_command
from tests.commands.conftest import BY
from tests.support.eventually import eventually
from tests.support.shop import Shop


async def test_a_broker_is_given_up(shop: Shop) -> None:
    """One that no worker of this deployment leads; what follows events here is led, and stays."""
    paysaga = shop.paysaga
    await paysaga.sql("UPDATE event_sink SET active = true, active_since = now() WHERE name = 'broker'")
    await shop.paid(shop.checkout())

    async def sinks() -> dict[str, dict[str, object]]:
        said = await paysaga_command(paysaga.environment(), "events", "sinks", "--json")
        return {one["name"]: one for one in json.loads(said.out)["data"]}

    async def led() -> bool:
        return bool((await sinks())["fanout"]["led"])

    await eventually(led, what="a leader")
    broker = (await sinks())["broker"]
    assert (bool(broker["active_since"]), broker["led"], broker["pending"] != 0) == (True, False, True)
    said = await paysaga_command(paysaga.environment(), "events", "disable-sink", "broker", *BY)
    assert (said.code, "Nothing is kept for the broker any more" in said.out) == (0, True), said.err
    broker = (await sinks())["broker"]
    assert (broker["active_since"], broker["pending"], broker["oldest_at"]) == (None, 0, None)
    for name, words in (("fanout", "A worker hands events to the fanout now"), ("nobody", "There is no sink nobody.")):
        said = await paysaga_command(paysaga.environment(), "events", "disable-sink", name, *BY)
        assert (said.code, words in said.err) == (1, True), said.err
