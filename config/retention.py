"""The settings of what is kept for a time alone: `config.settings` has them among the others."""

from pydantic import Field
from pydantic_settings import BaseSettings


class RetentionSettings(BaseSettings):
    """Days after which rows, or what is in them, go."""

    retention_inbox_days: int = Field(
        default=90, ge=7, description="the payloads of webhooks; that an event came is kept for ever"
    )
    retention_idempotency_days: int = Field(
        default=90, ge=30, description="idempotency keys: the same key is a new request after this"
    )
    retention_outbox_days: int = Field(
        default=90,
        ge=30,
        description="events of the outbox that every sink has; they go by whole months, when the last is so old",
    )
