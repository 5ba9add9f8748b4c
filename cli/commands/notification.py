"""The commands about notifications. What one of them needs is imported when it is called."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, Limit, Tenant, settings, show
from cli.nouns import Noun
from domain.notification import LOCALE_DEFAULT, ChannelName, NotificationStatus, Setting

if TYPE_CHECKING:
    from cli.pages.page import Page
    from db.core.database import Database

notifications = Noun(no_args_is_help=True)
Whose = Annotated[str, typer.Option("--tenant", help="Whose.")]
Event = Annotated[str, typer.Argument(metavar="EVENT", help="payment.succeeded, payout.paid …")]
ChannelOf = Annotated[ChannelName, typer.Argument(metavar="CHANNEL", help="email, sms or whatsapp.")]


def _show(about: str, work: Callable[["Database"], Awaitable["Page"]]) -> None:
    """Refusals in the words of the API."""
    from cli.refusals import refusals

    async def read(database: "Database") -> "Page":
        with refusals(about):
            return await work(database)

    show(read)


@notifications.command("list")
def notifications_list(
    tenant: Tenant = None,
    status: Annotated[NotificationStatus | None, typer.Option(help="Only these.")] = None,
    about: Annotated[str | None, typer.Option(metavar="ID", help="Only about this payment, payout …")] = None,
    limit: Limit = 20,
) -> None:
    """Notifications that were sent, and those that are still to be; the newest first."""
    from cli.connection import ANYBODY
    from cli.pages.notification import notifications_page
    from services import notification as service

    async def read(database: "Database") -> "Page":
        rows = await service.page(database, ANYBODY, tenant_id=tenant, status=status, object_id=about, limit=limit)
        return notifications_page(rows)

    show(read)


@notifications.command("show")
def notifications_show(notification: Annotated[str, typer.Argument(metavar="NOTIFICATION", help="ntf_…")]) -> None:
    """A notification."""
    from cli.connection import ANYBODY
    from cli.pages.notification import notification_page
    from services import notification as service

    async def read(database: "Database") -> "Page":
        return notification_page(await service.find(database, ANYBODY, notification))

    _show(notification, read)


@notifications.command("settings")
def notifications_settings(tenant: Whose) -> None:
    """The events that a tenant wants told, and the contacts that it has."""
    from cli.pages.notification import settings_page
    from services import notification as service

    async def read(database: "Database") -> "Page":
        told = await service.settings(database, tenant)
        return settings_page(told, await service.contacts(database, tenant))

    _show(tenant, read)


@notifications.command("enable")
def notifications_enable(
    event: Event,
    channel: ChannelOf,
    tenant: Whose,
    by: By,
    locale: Annotated[str, typer.Option(help="The language: en, de, …")] = LOCALE_DEFAULT,
    content_sid: Annotated[str | None, typer.Option(help="HX…, of the template that WhatsApp has approved.")] = None,
) -> None:
    """Have people told of events of a type over a channel, from now on."""
    wanted = Setting(type=event, channel=channel, enabled=True, locale=locale, content_sid=content_sid)
    _set(wanted, tenant, by, "is told")


@notifications.command("disable")
def notifications_disable(event: Event, channel: ChannelOf, tenant: Whose, by: By) -> None:
    """Have nobody told of events of a type over a channel any more."""
    _set(Setting(type=event, channel=channel, enabled=False), tenant, by, "is not told any more")


def _set(wanted: Setting, tenant: str, by: str, words: str) -> None:
    from cli import notification_documents as documents
    from cli.connection import person
    from cli.pages.page import said
    from services import notification as service

    async def change(database: "Database") -> "Page":
        others = [
            one
            for one in (await service.settings(database, tenant)).settings
            if (one.type, one.channel) != (wanted.type, wanted.channel)
        ]
        told = await service.replace_settings(database, person(by), tenant, [*others, wanted])
        return said(f"{wanted.type} {words} over {wanted.channel}.", lambda: documents.settings(told))

    _show(wanted.type, change)


@notifications.command("sign")
def notifications_sign(
    name: Annotated[str, typer.Argument(metavar="NAME", help="How people know the shop.")], tenant: Whose, by: By
) -> None:
    """Sign what is sent with this name."""
    from cli import notification_documents as documents
    from cli.connection import person
    from cli.pages.page import said
    from services import notification as service

    async def change(database: "Database") -> "Page":
        told = await service.replace_settings(database, person(by), tenant, sender_name=name)
        return said(f"{tenant} signs as {told.sender_name}.", lambda: documents.settings(told))

    _show(tenant, change)


@notifications.command("contact")
def notifications_contact(
    recipient: Annotated[str, typer.Argument(metavar="RECIPIENT", help="operator, or seller:NAME.")],
    tenant: Whose,
    by: By,
    email: Annotated[str | None, typer.Option(help="Left out: none.")] = None,
    phone: Annotated[str | None, typer.Option(help="+…; left out: none.")] = None,
    locale: Annotated[str | None, typer.Option(help="The language; left out: the setting's.")] = None,
) -> None:
    """Say where a seller, or the tenant itself, is reached: all of it. It is stored encrypted and never shown."""
    from cli import notification_documents as documents
    from cli.connection import keyring_of, person
    from cli.pages.page import said
    from services import notification as service
    from services.notification import NewContact

    keyring, new = keyring_of(settings()), NewContact(email=email, phone=phone, locale=locale)

    async def change(database: "Database") -> "Page":
        row = await service.set_contact(database, keyring, person(by), tenant, recipient, new)
        return said(f"The contact of {recipient} is written.", lambda: documents.contact(row))

    _show(recipient, change)


@notifications.command("suppressions")
def notifications_suppressions(tenant: Tenant = None, limit: Limit = 20) -> None:
    """Addresses that get nothing more, the newest first; not which, but why."""
    from cli.connection import ANYBODY
    from cli.pages.notification import suppressions_page
    from services import notification as service

    async def read(database: "Database") -> "Page":
        return suppressions_page(await service.suppressions(database, ANYBODY, tenant_id=tenant, limit=limit))

    show(read)


@notifications.command("lift")
def notifications_lift(
    suppression: Annotated[str, typer.Argument(metavar="SUPPRESSION", help="sup_…")], by: By
) -> None:
    """Let an address be written to again."""
    from cli import notification_documents as documents
    from cli.connection import person
    from cli.pages.page import said
    from services import notification as service

    async def lift(database: "Database") -> "Page":
        row = await service.lift(database, person(by), suppression)
        return said(f"{row.id} is lifted.", lambda: documents.suppression(row))

    _show(suppression, lift)
