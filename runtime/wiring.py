"""The wiring: every object of a process is built here, once, from the settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr
from temporalio.client import Client

from config.settings import SANDBOX_STRIPE_KEY, SANDBOX_WEBHOOK_SECRET, Settings
from db.core.database import Database
from db.core.driver import CONNECTIONS_MAX
from db.core.keyring import Keyring
from db.hot.terms import TermsCache
from domain.notification import ChannelName
from domain.payout import BankWaitPolicy
from domain.waiting import AT_A_SCREEN, BANK_DEBIT, WaitPolicies, WaitPolicy
from gateways.brokers.protocol import Broker
from gateways.brokers.registry import open_broker
from gateways.notify.channel import Channel
from gateways.notify.mailbox import Mailbox
from gateways.notify.smtp import Smtp
from gateways.protocol import Psp, PspAccount
from gateways.registry import open_psp
from runtime.charge_sender import ChargeSender
from runtime.notifier import CompletionNotifier
from runtime.pace import Pace
from runtime.recent import RecentPayments, RecentRefunds
from runtime.temporal import connect
from runtime.under_way import UnderWay
from runtime.workflow_client import WorkflowClient

_REPORT_CONNECTIONS = 4
"""A process lets no more expensive requests in at once; pages and files must not take the connections of payments."""

_INSTALL = "install its extra, in a checkout with `make clients`"


def connections_of(settings: Settings) -> int:
    """Database connections that a process may hold at once, but for the few of work that takes minutes."""
    return settings.database_pool_size + CONNECTIONS_MAX + _report_connections(settings)


def _report_connections(settings: Settings) -> int:
    return min(settings.database_pool_size, _REPORT_CONNECTIONS)


class SettingMissing(Exception):
    """A setting without which this process cannot run, or with which it cannot; the message names the variable."""


@dataclass(frozen=True)
class Runtime:
    """The objects that the API and the workers share. One per process and event loop. `reports`: the same database for
    what may take long, ledger pages and files, on connections of its own."""

    settings: Settings
    database: Database
    reports: Database
    keyring: Keyring
    psps: dict[str, Psp]
    temporal: Client
    workflow_client: WorkflowClient
    charge_sender: ChargeSender
    notifier: CompletionNotifier
    under_way: UnderWay
    recent: RecentPayments
    recent_refunds: RecentRefunds
    terms: TermsCache
    pace: Pace

    @property
    def psp(self) -> Psp:
        """The PSP that new payments go to."""
        return self.psps["stripe"]

    def payable(self, amount: int, currency: str) -> int:
        """The most that the PSP can pay out of an amount, in minor units: some currencies it takes in larger steps."""
        steps = (amount - amount % step for step in (1, 10, 100, 1000))
        return next((part for part in steps if part <= 0 or self.psp.check_payout(part, currency) is None), 0)

    @property
    def checkout_life(self) -> timedelta:
        """The longest that a buyer may have something to do about a payment: it is confirmed, then there is 3DS."""
        return timedelta(seconds=self.settings.confirm_deadline_s + self.settings.action_deadline_s)

    @property
    def send_for_s(self) -> float:
        """Seconds for which a request may be sent under its key: the PSP's key lifetime less our margin."""
        return max(0.0, self.psp.key_life_s - self.settings.stripe_key_margin_s)


@asynccontextmanager
async def open_runtime(
    settings: Settings, *, application: str, lazy: bool = False, temporal_patience_s: float | None = None
) -> AsyncIterator[Runtime]:
    """Raises SettingMissing, and what the Temporal client raises when its server does not answer: at once, or, if
    `lazy`, at the first call, which waits `temporal_patience_s` at most."""
    async with AsyncExitStack() as stack:
        url = _required(settings.database_url, "PAYSAGA_DATABASE_URL")
        database = Database(
            url,
            pool_size=settings.database_pool_size,
            timeout_s=settings.database_timeout_s,
            application=application,
        )
        stack.push_async_callback(database.close)
        reports = Database(
            url,
            pool_size=_report_connections(settings),
            timeout_s=settings.database_report_timeout_s,
            application=f"{application}-reports",
        )
        stack.push_async_callback(reports.close)
        keyring = keyring_of(settings)
        psps = {name: open_psp(name, account) for name, account in psp_accounts(settings).items()}
        for psp in psps.values():
            stack.push_async_callback(psp.close)
        under_way = UnderWay(here=settings.api_worker)
        temporal = await connect(settings, keyring, lazy=lazy, patience_s=temporal_patience_s)
        yield Runtime(
            settings=settings,
            database=database,
            reports=reports,
            keyring=keyring,
            psps=psps,
            temporal=temporal,
            workflow_client=WorkflowClient(
                temporal,
                settings.temporal_task_queue,
                wait_policies(settings),
                payout_wait_policy=payout_wait_policy(settings),
                task_timeout_s=settings.workflow_task_timeout_s,
            ),
            charge_sender=ChargeSender(psps, keyring, under_way, fast_timeout_s=settings.stripe_fast_timeout_s),
            notifier=CompletionNotifier(under_way),
            under_way=under_way,
            recent=RecentPayments(),
            recent_refunds=RecentRefunds(),
            terms=TermsCache(),
            pace=Pace(settings.api_payments_max),
        )


def keyring_of(settings: Settings) -> Keyring:
    """Raises SettingMissing."""
    keys = _required(settings.encryption_keys, "PAYSAGA_ENCRYPTION_KEYS")
    try:
        return Keyring.parse(keys)
    except ValueError as error:
        raise SettingMissing(f"PAYSAGA_ENCRYPTION_KEYS is not usable: {error}.") from error


def broker_of(settings: Settings) -> Broker | None:
    """The broker that events are published to, not connected yet; None: there is none. Raises SettingMissing."""
    if settings.events_url is None:
        return None
    try:
        return open_broker(settings.events_url.get_secret_value())
    except ImportError as error:
        raise SettingMissing(f"PAYSAGA_EVENTS_URL needs the package {error.name}: {_INSTALL}.") from error
    except ValueError as error:
        raise SettingMissing(f"PAYSAGA_EVENTS_URL is not usable: {error}.") from error


def channels_of(settings: Settings) -> dict[ChannelName, Channel]:
    """The channels to people that the settings name; the mailbox takes the place of all. Raises SettingMissing."""
    if settings.mailbox is not None:
        return {name: Mailbox(settings.mailbox, name) for name in ChannelName}
    found: dict[ChannelName, Channel] = {}
    if settings.smtp_url is not None:
        found[ChannelName.EMAIL] = Smtp(settings.smtp_url.get_secret_value(), settings.smtp_from)
    if settings.twilio_account_sid is not None:
        token = _required(settings.twilio_auth_token, "PAYSAGA_TWILIO_AUTH_TOKEN")
        senders = {ChannelName.SMS: settings.twilio_sms_from, ChannelName.WHATSAPP: settings.twilio_whatsapp_from}
        for name, sender in senders.items():
            if sender is not None:
                found[name] = _twilio(settings.twilio_account_sid, token, sender, settings.twilio_base_url, name)
    return found


def _twilio(sid: str, token: str, sender: str, base_url: str | None, name: ChannelName) -> Channel:
    """Its SDK is an extra, and takes a while to import."""
    try:
        from gateways.notify.twilio import Account, Twilio
    except ImportError as error:
        raise SettingMissing(f"PAYSAGA_TWILIO_ACCOUNT_SID needs the package {error.name}: {_INSTALL}.") from error
    return Twilio(Account(sid, token, sender, base_url), name)


def _required(value: SecretStr | None, variable: str) -> str:
    if value is None or not value.get_secret_value():
        raise SettingMissing(f"{variable} is not set; `make run` sets it for the embedded stack.")
    return value.get_secret_value()


def psp_accounts(settings: Settings) -> dict[str, PspAccount]:
    """Our account at each PSP; at Stripe, without a key of its own, it is the sandbox on this machine."""
    real = settings.stripe_api_key is not None
    sandbox_url = f"http://{settings.sandbox_host}:{settings.sandbox_port}"
    secrets = settings.stripe_webhook_secret.get_secret_value() if settings.stripe_webhook_secret else ""
    stripe = PspAccount(
        api_key=settings.stripe_api_key.get_secret_value() if settings.stripe_api_key else SANDBOX_STRIPE_KEY,
        base_url=settings.stripe_base_url or (None if real else sandbox_url),
        webhook_secrets=[s for s in secrets.split(",") if s] or ([] if real else [SANDBOX_WEBHOOK_SECRET]),
        currencies=settings.stripe_currencies,
        key_life_s=settings.stripe_key_life_s,
        return_url=settings.stripe_return_url,
        statement_descriptor=settings.stripe_statement_descriptor,
        concurrency_max=settings.stripe_concurrency_max,
        rate_per_s=settings.stripe_rate_per_s,
        breaker_failures=settings.stripe_breaker_failures,
        breaker_open_s=settings.stripe_breaker_open_s,
    )
    return {"stripe": stripe}


def wait_policies(settings: Settings) -> WaitPolicies:
    """Of each payment method: they differ in whether the buyer waits at a screen."""
    policy = WaitPolicy(
        confirm_s=settings.confirm_deadline_s,
        action_s=settings.action_deadline_s,
        pending_s=settings.pending_deadline_s,
        authorization_s=settings.authorization_deadline_s,
        authorization_margin_s=settings.authorization_margin_s,
        evidence_warning_s=settings.evidence_warning_s,
        poll_first_s=settings.poll_first_s,
        poll_max_s=settings.poll_max_s,
        poll_factor=settings.poll_factor,
        unknown_s=settings.unknown_patience_s,
        present_s=settings.poll_present_s,
        present_max_s=settings.poll_present_max_s,
    )
    debit = policy.model_copy(update={**BANK_DEBIT, "present_s": 0.0})
    return WaitPolicies(default=debit, by_method=dict.fromkeys(AT_A_SCREEN, policy))


def payout_wait_policy(settings: Settings) -> WaitPolicy:
    return WaitPolicy(
        poll_first_s=settings.payout_poll_first_s,
        poll_max_s=settings.payout_poll_max_s,
        unknown_s=settings.unknown_patience_s,
    )


def bank_wait_policy(settings: Settings) -> BankWaitPolicy:
    days = tuple(int(day) for day in settings.payout_return_look_days.split(","))
    return BankWaitPolicy(days=settings.payout_bank_days, return_look_days=days)
