"""What a consumer of the broker sees: every event that is there, in the order in which it was stored."""

import json
from collections import defaultdict
from typing import Any

import nats
from nats.js.api import AckPolicy, ConsumerConfig

from domain.event_types import PREFIX
from gateways.brokers.nats import STREAM, SUBJECTS


async def published(url: str, tenant_id: str) -> list[dict[str, Any]]:
    """The CloudEvents of a tenant."""
    client = await nats.connect(url)
    try:
        config = ConsumerConfig(ack_policy=AckPolicy.NONE)
        reader = await client.jetstream().pull_subscribe(f"paysaga.v1.{tenant_id}.>", stream=STREAM, config=config)
        left = (await reader.consumer_info()).num_pending or 0
        found: list[dict[str, Any]] = []
        while len(found) < left:
            found += [json.loads(message.data) for message in await reader.fetch(left - len(found), timeout=5)]
        return found
    finally:
        await client.close()


async def repeat(url: str, tenant_id: str) -> None:
    """Publish a tenant's events once more, as a relay does that comes back after the window of duplicates."""
    events = await published(url, tenant_id)
    client = await nats.connect(url)
    try:
        for event in events:
            noun, verb = event["type"].removeprefix(PREFIX).removesuffix(".v1").split(".")
            subject = f"paysaga.v1.{tenant_id}.{noun}.{verb}.{event['subject']}"
            await client.jetstream().publish(subject, json.dumps(event).encode())
    finally:
        await client.close()


async def unread(url: str, name: str) -> int:
    """Events that a durable consumer has not said to be done."""
    client = await nats.connect(url)
    try:
        found = await client.jetstream().consumer_info(STREAM, name)
        return (found.num_pending or 0) + (found.num_ack_pending or 0)
    finally:
        await client.close()


async def forget(url: str, event_id: str) -> None:
    """Lose an event, as an operator might who deletes it."""
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        reader = await stream.pull_subscribe(SUBJECTS, stream=STREAM, config=ConsumerConfig(ack_policy=AckPolicy.NONE))
        left = (await reader.consumer_info()).num_pending or 0
        for message in await reader.fetch(left, timeout=5):
            if json.loads(message.data)["id"] == event_id:
                await stream.delete_msg(STREAM, message.metadata.sequence.stream)
    finally:
        await client.close()


def held_to_their_order(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Types by object; of an object, numbers rise, but for a repetition with an equal id."""
    assert out_of_order(found) == []
    types: dict[str, list[str]] = defaultdict(list)
    for event in _without_repetitions(found):
        types[event["subject"]].append(event["type"].removeprefix(PREFIX))
    return types


def out_of_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events that came behind a newer one of their object, but for repetitions with an equal id."""
    last: dict[str, str] = {}
    behind = []
    for event in _without_repetitions(found):
        if event["sequence"] <= last.get(event["subject"], ""):
            behind.append(event)
        last[event["subject"]] = event["sequence"]
    return behind


def _without_repetitions(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first: dict[str, dict[str, Any]] = {}
    for event in found:
        first.setdefault(event["id"], event)
    return list(first.values())
