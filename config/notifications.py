"""The settings of notifications to people: `config.settings` has them among the others."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from config.urls import check_mail


class NotificationSettings(BaseSettings):
    """The mail server, the account at Twilio, and the words."""

    smtp_url: SecretStr | None = Field(
        default=None,
        description="the mail server: smtp://user:password@host:587 (STARTTLS, which only this machine may lack), or"
        " smtps://…; unset: no mail",
    )
    smtp_from: str = Field(
        default="no-reply@localhost",
        pattern=r"^[^@\s<>]+@[^@\s<>]+$",
        description="the address that mail is sent from; the name beside it is the tenant's",
    )
    twilio_account_sid: str | None = Field(default=None, description="AC…; unset: no SMS, no WhatsApp")
    twilio_auth_token: SecretStr | None = None
    twilio_sms_from: str | None = Field(default=None, description="a number, +…, or a messaging service, MG…")
    twilio_whatsapp_from: str | None = Field(default=None, description="the same for WhatsApp")
    twilio_base_url: str | None = Field(default=None, description="for tests; unset: Twilio's own")
    templates: Path | None = Field(
        default=None, description="a folder with words of your own: {language}.toml, mail.html, mail.txt, {tenant}/…"
    )

    @field_validator("smtp_url")
    @classmethod
    def _of_mail(cls, value: SecretStr | None) -> SecretStr | None:
        return check_mail(value)

    @field_validator(
        "twilio_account_sid", "twilio_sms_from", "twilio_whatsapp_from", "twilio_base_url", "templates", mode="before"
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value
