"""Sending notifications that are due: a claim, the message outside of any transaction, and its outcome."""

from collections.abc import Mapping

from db.core.database import Database
from db.core.keyring import Keyring, Undecryptable
from db.notification import material, sending, suppression
from db.notification.material import Material
from db.notification.sending import Claimed, Lapsed
from domain.notification import Answer, ChannelName, NotificationStatus, Outgoing, Verdict
from gateways.notify.channel import Channel
from services.notify.values import values_of
from services.notify.words import Words, WordsError

Channels = Mapping[ChannelName, Channel]


async def claim(database: Database, channels: Channels, limit: int) -> list[Claimed]:
    """Up to `limit` that are due on channels that this process has; they are its own for two minutes. Raises
    Unavailable."""
    names = [name.value for name in channels]
    if not limit or not names or not await sending.is_due(database, names):
        return []
    return await database.run(lambda c: sending.claim(c, names, limit))


async def send(
    database: Database, keyring: Keyring, words: Words, channels: Channels, one: Claimed
) -> NotificationStatus | None:
    """Send one, and write what became of it: its status, PENDING where it is tried again; None: somebody else had it
    meanwhile. The address is decrypted here and goes nowhere but to the channel. Raises Unavailable: then it is taken
    again once the claim has ended."""
    try:
        return await _send(database, keyring, words, channels[one.channel], one)
    except Lapsed:
        return None


async def _send(
    database: Database, keyring: Keyring, words: Words, channel: Channel, one: Claimed
) -> NotificationStatus:
    try:
        found = await database.read(lambda c: material.read(c, keyring, one))
    except Undecryptable:
        return await _refuse(database, one, "address_undecryptable")
    if found.address is None:
        await database.run(lambda c: sending.suppressed(c, one, "no_address", None))
        return NotificationStatus.SUPPRESSED
    known = suppression.digests(keyring, one.tenant_id, one.channel, found.address)
    by = await database.read(lambda c: suppression.of_address(c, one.tenant_id, one.channel, known))
    if by is not None:
        await database.run(lambda c: sending.suppressed(c, one, "suppressed", by))
        return NotificationStatus.SUPPRESSED
    if found.data is None:
        return await _refuse(database, one, "event_gone")
    try:
        message = _message(words, one, found, found.address)
    except WordsError:
        return await _refuse(database, one, "template_unusable")
    answer = await channel.send(message, one.begun_before)
    return await database.run(lambda c: sending.record(c, one, answer, digest=known[0]))


async def _refuse(database: Database, one: Claimed, code: str) -> NotificationStatus:
    answer = Answer(Verdict.DECLINED, code)
    return await database.run(lambda c: sending.record(c, one, answer, digest=None))


def _message(words: Words, one: Claimed, found: Material, address: str) -> Outgoing:
    values = values_of(one.type, found.data or {}, found, one.locale)
    said = words.render(one.tenant_id, one.template, one.locale, values)
    mail = one.channel is ChannelName.EMAIL
    return Outgoing(
        id=one.id,
        to=address,
        sender_name=found.shop,
        subject=said.subject,
        text=said.text if mail else said.short,
        html=said.html if mail else "",
        content_sid=one.content_sid,
        variables={"1": found.shop, "2": str(values.get("amount", "")), "3": one.object_id},
    )
