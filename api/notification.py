"""`/v1/notifications`: what buyers and sellers were told. `/v1/notification-settings`, `/v1/notification-contacts`:
what they are told from now on, and where. `/v1/suppressions`: who gets nothing more. None of them shows an address."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Body, Path, Query, Request, Response
from pydantic import Field

from api.access import NotificationsReader, NotificationsWriter, caller, tenant_of
from api.context import IdempotencyKey, RuntimeOf, json_answer, keyed
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.fields import In, Out
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from db.notification.setting import Contact
from domain.limits import Email, Phone, SenderName
from domain.notification import (
    LOCALE_DEFAULT,
    NOTICES,
    ChannelName,
    Notification,
    NotificationStatus,
    Setting,
    Suppression,
    SuppressionReason,
)
from services import notification as service
from services.notification import NewContact, Told

router = Router(prefix="/v1", tags=["notifications"], route_class=StrictRoute)

_Channel = Literal["email", "sms", "whatsapp"]
_Locale = Annotated[str, Field(min_length=2, max_length=20, examples=["de"])]

# --- shapes ---


class NotificationOut(Out):
    object: Literal["notification"] = "notification"
    id: str
    event_id: str
    type: str = Field(description="of the event", examples=["payment.succeeded"])
    object_id: str = Field(description="what the event is about")
    recipient: str = Field(description="a payment (its buyer), `seller:NAME` or `operator`; never an address")
    channel: ChannelName
    template: str = Field(examples=["receipt"])
    locale: str
    status: NotificationStatus = Field(
        description="`SENT`: the mail server or Twilio has taken it. `UNKNOWN`: it may have been sent, and is not sent "
        "again by itself. `SUPPRESSED`: the address gets nothing more, or there is none any more"
    )
    attempts: int
    code: str | None = Field(description="why it was not sent, or not yet", examples=["smtp_550 5.1.1"])
    provider_id: str | None = Field(description="the Message-ID, or Twilio's id")
    suppression_id: str | None
    next_attempt_at: datetime | None = Field(description="null: there is none")
    created_at: datetime
    ended_at: datetime | None


class NotificationList(Out):
    object: Literal["list"] = "list"
    data: list[NotificationOut]
    next_cursor: str | None = None


class NotificationSettingIn(In):
    type: str = Field(max_length=60, description=f"one of {', '.join(NOTICES)}", examples=["payment.succeeded"])
    channel: _Channel
    enabled: bool = True
    locale: _Locale = LOCALE_DEFAULT
    content_sid: str | None = Field(
        default=None, pattern="^HX[0-9a-f]{32}$", description="of the template that WhatsApp has approved, at Twilio"
    )


class NotificationSettingsIn(In):
    settings: list[NotificationSettingIn] | None = Field(default=None, max_length=100, description="null: as they are")
    sender_name: SenderName | None = Field(
        default=None, description="how the shop signs; null: as it is", examples=["Anna's Books"]
    )


class NotificationSettingOut(Out):
    type: str
    channel: ChannelName
    enabled: bool
    locale: str
    content_sid: str | None


class NotificationSettings(Out):
    object: Literal["notification_settings"] = "notification_settings"
    sender_name: str
    settings: list[NotificationSettingOut] = Field(description="of what is not here nobody is told")


class NotificationContactIn(In):
    email: Email | None = Field(default=None, examples=["anna@shop.example"])
    phone: Phone | None = Field(default=None, description="E.164", examples=["+4915112345678"])
    locale: _Locale | None = Field(default=None, description="null: the setting's")


class NotificationContactOut(Out):
    """A contact without its addresses."""

    object: Literal["notification_contact"] = "notification_contact"
    recipient: str
    has_email: bool
    has_phone: bool
    locale: str | None


class NotificationContactList(Out):
    object: Literal["list"] = "list"
    data: list[NotificationContactOut]


class SuppressionOut(Out):
    object: Literal["suppression"] = "suppression"
    id: str
    channel: ChannelName
    reason: SuppressionReason
    code: str | None = Field(examples=["smtp_550 5.1.1"])
    created_at: datetime


class SuppressionList(Out):
    object: Literal["list"] = "list"
    data: list[SuppressionOut]
    next_cursor: str | None = None


_SETTINGS: dict[str, Any] = {
    "receipts": {
        "summary": "Receipts in German by mail",
        "value": {"settings": [{"type": "payment.succeeded", "channel": "email", "locale": "de"}]},
    }
}
_CONTACTS: dict[str, Any] = {
    "mail": {"summary": "A seller's address", "value": {"email": "anna@shop.example", "locale": "de"}}
}


def notification_out(row: Notification) -> NotificationOut:
    shown = row.model_dump(include=set(NotificationOut.model_fields))
    waiting = row.status is NotificationStatus.PENDING
    return NotificationOut(**shown | {"next_attempt_at": row.next_attempt_at if waiting else None})


def settings_out(told: Told) -> NotificationSettings:
    rows = [NotificationSettingOut(**row.model_dump()) for row in told.settings]
    return NotificationSettings(sender_name=told.sender_name, settings=rows)


def _setting(one: NotificationSettingIn) -> Setting:
    return Setting(**one.model_dump(exclude={"channel"}), channel=ChannelName(one.channel))


def contact_out(row: Contact) -> NotificationContactOut:
    return NotificationContactOut(
        recipient=row.recipient, has_email=row.has_email, has_phone=row.has_phone, locale=row.locale
    )


def suppression_out(row: Suppression) -> SuppressionOut:
    return SuppressionOut(**row.model_dump(include=set(SuppressionOut.model_fields)))


# --- routes ---


@router.get(
    "/notifications", response_model=NotificationList, responses=READ_PROBLEMS, summary="List what people were told"
)
async def list_notifications(
    who: NotificationsReader,
    runtime: RuntimeOf,
    status: Annotated[NotificationStatus | None, Query(description="only these")] = None,
    object_id: Annotated[str | None, Query(max_length=64, description="only about this payment, payout …")] = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """And what is still to be sent; the newest first."""
    before = decode("notification", cursor)
    rows = await service.page(
        runtime.database, caller(who), status=status, object_id=object_id, before=before, limit=limit + 1
    )
    following = encode("notification", rows[limit - 1].id) if len(rows) > limit else None
    return json_answer(NotificationList(data=[notification_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/notifications/{notification_id}",
    response_model=NotificationOut,
    responses=READ_PROBLEMS,
    summary="Show a notification",
)
async def show_notification(
    notification_id: Annotated[str, Path(description="`ntf_…`", examples=["ntf_01kb8x0000example000000000"])],
    who: NotificationsReader,
    runtime: RuntimeOf,
) -> Response:
    """One event, told to one person over one channel."""
    return json_answer(notification_out(await service.find(runtime.database, caller(who), notification_id)))


@router.get(
    "/notification-settings",
    response_model=NotificationSettings,
    responses=READ_PROBLEMS,
    summary="Show what people are told",
)
async def show_notification_settings(who: NotificationsReader, runtime: RuntimeOf) -> Response:
    """By type of event and channel."""
    return json_answer(settings_out(await service.settings(runtime.database, tenant_of(who))))


@router.put(
    "/notification-settings",
    response_model=NotificationSettings,
    responses=WRITE_PROBLEMS,
    summary="Replace what people are told",
)
async def replace_notification_settings(
    body: Annotated[NotificationSettingsIn, Body(openapi_examples=_SETTINGS)],
    who: NotificationsWriter,
    runtime: RuntimeOf,
) -> Response:
    """All of it at once; it holds for what happens from now on. A shop starts with nothing: nobody is told."""
    wanted = None if body.settings is None else [_setting(one) for one in body.settings]
    return json_answer(
        settings_out(
            await service.replace_settings(
                runtime.database, caller(who), tenant_of(who), wanted, sender_name=body.sender_name
            )
        )
    )


@router.get(
    "/notification-contacts",
    response_model=NotificationContactList,
    responses=READ_PROBLEMS,
    summary="List the contacts",
)
async def list_notification_contacts(who: NotificationsReader, runtime: RuntimeOf) -> Response:
    """Of sellers, and of the shop itself: whether there is an address, not which."""
    rows = await service.contacts(runtime.database, tenant_of(who))
    return json_answer(NotificationContactList(data=[contact_out(row) for row in rows]))


@router.put(
    "/notification-contacts/{recipient}",
    response_model=NotificationContactOut,
    responses=WRITE_PROBLEMS,
    summary="Say where somebody is reached",
)
async def put_notification_contact(
    recipient: Annotated[
        str,
        Path(max_length=80, description="`operator`, or `seller:` and its account", examples=["seller:seller_anna"]),
    ],
    body: Annotated[NotificationContactIn, Body(openapi_examples=_CONTACTS)],
    who: NotificationsWriter,
    runtime: RuntimeOf,
) -> Response:
    """All of the contact; it is stored encrypted and never shown. What is left out is gone."""
    new = NewContact(email=body.email, phone=body.phone, locale=body.locale)
    row = await service.set_contact(runtime.database, runtime.keyring, caller(who), tenant_of(who), recipient, new)
    return json_answer(contact_out(row))


@router.get("/suppressions", response_model=SuppressionList, responses=READ_PROBLEMS, summary="List the suppressions")
async def list_suppressions(
    who: NotificationsReader, runtime: RuntimeOf, cursor: Cursor = None, limit: Limit = LIMIT_DEFAULT
) -> Response:
    """Addresses that get nothing more over a channel, the newest first. Which ones is stored as digests; a
    notification that was not sent for one names it (`suppression_id`)."""
    before = decode("suppression", cursor)
    rows = await service.suppressions(runtime.database, caller(who), before=before, limit=limit + 1)
    following = encode("suppression", rows[limit - 1].id) if len(rows) > limit else None
    return json_answer(SuppressionList(data=[suppression_out(row) for row in rows[:limit]], next_cursor=following))


@router.post(
    "/suppressions/{suppression_id}/lift", response_model=SuppressionOut, responses=WRITE_PROBLEMS, summary="Lift one"
)
async def lift_suppression(
    request: Request,
    suppression_id: Annotated[str, Path(description="`sup_…`", examples=["sup_01kb8x0000example000000000"])],
    who: NotificationsWriter,
    runtime: RuntimeOf,
    key: IdempotencyKey,
) -> Response:
    """The address is written to again. Who has unsubscribed has to subscribe again with Twilio as well (START)."""
    under = keyed(request, key, None)
    return json_answer(
        suppression_out(await service.lift(runtime.database, caller(who), suppression_id, request=under))
    )
