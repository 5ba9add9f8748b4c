"""The shapes of notifications, of their settings and contacts, and of suppressions over HTTP."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.fields import In, Out
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
from services.notification import Told

_Channel = Literal["email", "sms", "whatsapp"]
_Locale = Annotated[str, Field(min_length=2, max_length=20, examples=["de"])]


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

    @property
    def setting(self) -> Setting:
        return Setting(**self.model_dump(exclude={"channel"}), channel=ChannelName(self.channel))


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


def notification_out(row: Notification) -> NotificationOut:
    shown = row.model_dump(include=set(NotificationOut.model_fields))
    waiting = row.status is NotificationStatus.PENDING
    return NotificationOut(**shown | {"next_attempt_at": row.next_attempt_at if waiting else None})


def settings_out(told: Told) -> NotificationSettings:
    rows = [NotificationSettingOut(**row.model_dump()) for row in told.settings]
    return NotificationSettings(sender_name=told.sender_name, settings=rows)


def contact_out(row: Contact) -> NotificationContactOut:
    return NotificationContactOut(
        recipient=row.recipient, has_email=row.has_email, has_phone=row.has_phone, locale=row.locale
    )


def suppression_out(row: Suppression) -> SuppressionOut:
    return SuppressionOut(**row.model_dump(include=set(SuppressionOut.model_fields)))
