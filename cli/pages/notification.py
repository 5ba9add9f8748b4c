"""The pages of notifications, settings, contacts and suppressions."""

from collections.abc import Sequence

from rich.console import Group, RenderableType

from cli import notification_documents as documents
from cli.pages import format as look
from cli.pages.page import Page
from db.notification.setting import Contact
from domain.notification import Notification, NotificationStatus, Setting, Suppression
from services.notification import Told


def notifications_page(rows: Sequence[Notification]) -> Page:
    return Page(_notifications(rows), lambda: documents.notifications(rows))


def notification_page(row: Notification) -> Page:
    return Page(_notifications([row]), lambda: documents.notification(row))


def _notifications(rows: Sequence[Notification]) -> RenderableType:
    if not rows:
        return look.text("Nobody was told anything.")
    table = look.table("notification", "event", "to", "how", "status", "attempts", "next (UTC)", right=("attempts",))
    for row in rows:
        waiting = row.status is NotificationStatus.PENDING
        following = look.time(row.next_attempt_at) if waiting else "–"
        how = f"{row.channel}, {row.template}, {row.locale}"
        status = look.because(row.status, row.code or "")
        event = look.ids(row.type, row.object_id)
        table.add_row(row.id, event, row.recipient, how, status, str(row.attempts), following)
    return table


def settings_page(told: Told, contacts: Sequence[Contact]) -> Page:
    shown = Group(look.text(f"Signed: {told.sender_name}"), _settings(told.settings), _contacts(contacts))
    return Page(shown, lambda: documents.settings_and_contacts(told, contacts))


def _settings(rows: Sequence[Setting]) -> RenderableType:
    if not rows:
        return look.typed(
            "Nobody is told of anything yet: `paysaga notifications enable payment.succeeded email --tenant TENANT`."
        )
    table = look.table("event", "channel", "told", "language")
    for row in rows:
        table.add_row(row.type, row.channel, "on" if row.enabled else "off", row.locale)
    return table


def _contacts(rows: Sequence[Contact]) -> RenderableType:
    if not rows:
        return look.text("There are no contacts.")
    table = look.table("contact of", "e-mail", "telephone", "language")
    for row in rows:
        has = ("known" if row.has_email else "–", "known" if row.has_phone else "–")
        table.add_row(row.recipient, *has, row.locale or "–")
    return table


def suppressions_page(rows: Sequence[Suppression]) -> Page:
    return Page(_suppressions(rows), lambda: documents.suppressions(rows))


def _suppressions(rows: Sequence[Suppression]) -> RenderableType:
    if not rows:
        return look.text("No address is suppressed.")
    table = look.table("suppression", "tenant", "channel", "why", "since (UTC)")
    for row in rows:
        table.add_row(row.id, row.tenant_id, row.channel, f"{row.reason} {row.code or ''}", look.time(row.created_at))
    return table
