"""Accounts: one per secret key, created on first use, with settings and a clock of its own; and connected ones."""

import base64
import hashlib
import json
import re
import time
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sandbox.errors import ApiError
from sandbox.store import Store

KEY = re.compile(r"sk_test_[A-Za-z0-9_]{1,200}")


class Fee(BaseModel):
    """The provider's fee for a charge: percent of the amount, rounded half up, plus minor units."""

    model_config = ConfigDict(extra="forbid")

    percent: Decimal = Field(Decimal("2.9"), ge=0, le=100)
    fixed: int = Field(30, ge=0)


class Settings(BaseModel):
    """The settings that `PATCH /_control/account` changes. Durations are seconds."""

    model_config = ConfigDict(extra="forbid")

    webhook_url: str | None = None
    webhook_secret: str = ""
    webhook_events: list[str] = ["*"]
    # Those of connected accounts; None: as `webhook_events`.
    webhook_seller_events: list[str] | None = None
    webhook_retry_base_s: float = Field(1.0, gt=0)
    webhook_timeout_s: float = Field(10.0, gt=0)
    key_life_s: float = Field(86_400, gt=0)
    processing_delay_s: float | None = Field(2.0, ge=0)
    available_delay_s: int = Field(172_800, ge=0)
    fee: Fee = Fee()
    enforce_single_use: bool = True
    # What a dispute costs, in minor units of its currency, and whether winning gives that back.
    dispute_fee: int = Field(1_500, ge=0)
    dispute_fee_returned: bool = False
    authorization_life_s: float = Field(604_800, gt=0)
    # When a refund that had succeeded comes back; None leaves that to `processing_delay_s`.
    refund_failure_delay_s: float | None = Field(None, ge=0)
    # Radar's default rule; without it a card of the highest risk is charged and only carries the mark.
    block_highest_risk: bool = True
    # When a payout arrives at the bank (None: only by a control call), and when one comes back that had arrived.
    payout_delay_s: float | None = Field(2.0, ge=0)
    payout_return_delay_s: float | None = Field(172_800, ge=0)
    # When the bank's own reference of a payout is told after it was paid (None: only by a control call), and whether
    # the bank has one.
    trace_delay_s: float | None = Field(0.0, ge=0)
    trace_supported: bool = True
    # What the bank's text says of a payout: its id, the bank's own reference of it, or neither.
    bank_names: Literal["payout", "trace_id", "nothing"] = "payout"
    # The itemized report: every column or the nine that Stripe gives by default, with the payouts or, as Stripe's,
    # without; and the zone of its `created` and `available_on`, and of the bank's days.
    report_columns: Literal["all", "default"] = "all"
    report_payouts: bool = True
    local_timezone: str = "UTC"
    # Whether the account's own transfers and payouts are refused above its available balance.
    check_available_balance: bool = True

    @field_validator("local_timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, OSError, ValueError):
            raise ValueError("an IANA time zone such as Europe/Berlin") from None
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The zone of local times."""
        return ZoneInfo(self.local_timezone)


class Account(BaseModel):
    """The account of a secret key. `clock_offset_s`: so far its clock is ahead of the machine's."""

    key: str
    id: str
    settings: Settings
    clock_offset_s: float = 0.0

    @property
    def platform(self) -> "Account":
        """The account whose key, settings, clock and webhooks these are: itself."""
        return self

    @property
    def connected(self) -> str | None:
        """The id of a connected account; None for a platform."""
        return None

    @property
    def time(self) -> float:
        """Seconds since 1970 by the account's clock."""
        return time.time() + self.clock_offset_s

    @property
    def now(self) -> int:
        """The account's clock in whole seconds, as Stripe stamps objects."""
        return int(self.time)


class Connected:
    """An account under a platform: objects and a balance of its own; the platform's key, settings, clock, webhooks.

    `connected` is its `acct_…`, `id` what the store calls it: test names exist under every platform.
    """

    def __init__(self, platform: Account, connected: str) -> None:
        self.platform, self.connected = platform, connected
        self.id = f"{platform.id}/{connected}"

    @property
    def settings(self) -> Settings:
        """The platform's settings."""
        return self.platform.settings

    @property
    def clock_offset_s(self) -> float:
        """So far the platform's clock is ahead of the machine's."""
        return self.platform.clock_offset_s

    @property
    def time(self) -> float:
        """Seconds since 1970 by the platform's clock."""
        return self.platform.time

    @property
    def now(self) -> int:
        """The platform's clock in whole seconds."""
        return self.platform.now


AnyAccount = Account | Connected


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Accounts:
    """The accounts that have been seen, kept in memory and written through to the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        rows = store.db.execute("SELECT key, doc FROM accounts")
        self._known = {key: Account.model_validate(json.loads(document)) for key, document in rows}

    def of(self, key: str) -> Account:
        """The account of a secret key, created on first use."""
        account = self._known.get(key)
        if account is None:
            digest = _digest(key)
            # Derived, not random: whoever knows the key knows the secret, also before the first request.
            settings = Settings(webhook_secret=f"whsec_{digest[24:56]}")
            account = Account(key=key, id=f"acct_{digest[:16]}", settings=settings)
            self.save(account)
        return account

    def by_id(self, account_id: str) -> AnyAccount:
        """The account with this id, a platform or one of its connected accounts; it must exist."""
        platform_id, _, connected = account_id.partition("/")
        platform = next(account for account in self._known.values() if account.id == platform_id)
        return Connected(platform, connected) if connected else platform

    def save(self, account: Account) -> None:
        """Keep a changed account."""
        self._known[account.key] = account
        self._store.db.execute(
            "INSERT INTO accounts (key, doc) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET doc = excluded.doc",
            (account.key, account.model_dump_json()),
        )

    def authenticate(self, authorization: str | None) -> Account:
        """The account behind an `Authorization` header (bearer, or basic with the key as user name)."""
        key = _credential(authorization or "")
        if not key:
            text = (
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
            raise ApiError(401, text)
        if not KEY.fullmatch(key):
            masked = key[:8] + "*" * max(len(key) - 12, 4) + key[-4:] if len(key) > 12 else "*" * len(key)
            raise ApiError(401, f"Invalid API Key provided: {masked}")
        return self.of(key)


def _credential(authorization: str) -> str:
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[0]
        except ValueError:
            return ""
    return ""
