"""Payouts: the values between their workflows and activities, and the days on which a seller is due."""

from calendar import monthrange
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from domain.model import Frozen
from domain.psp import PayoutResult, TransferResult
from domain.status import PayoutStatus
from domain.waiting import WaitPolicy

PAYOUT_WORKFLOW = "payout"
PAYOUT_RUN_WORKFLOW = "payout_run"
RELEASE_WORKFLOW = "release"

DELAY_DAYS_MAX = 365
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
AVAILABLE_UNKNOWN_DAYS = 7
"""From now until a charge's money can be used, where the PSP has not said: as long as it takes a PSP at most."""


class Interval(StrEnum):
    """The interval in which a seller is paid without asking."""

    MANUAL = "manual"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class PayoutSchedule(Frozen):
    """A seller's payout schedule. `weekdays`: 0 is Monday. `monthdays`: 1 to 31; a day that a month lacks is its last.
    `minimum`: currency → minor units below which nothing is paid. `delay_days`: how long a credited order stays in the
    wallet's pending at least.
    """

    interval: Interval = Interval.MANUAL
    weekdays: tuple[int, ...] = ()
    monthdays: tuple[int, ...] = ()
    minimum: Mapping[str, int] = Field(default_factory=dict)
    delay_days: int = Field(default=0, ge=0, le=DELAY_DAYS_MAX)

    @model_validator(mode="after")
    def _days_fit(self) -> "PayoutSchedule":
        if (self.interval is Interval.WEEKLY) != bool(self.weekdays):
            raise ValueError("weekly payouts name their weekdays, and no others do")
        if (self.interval is Interval.MONTHLY) != bool(self.monthdays):
            raise ValueError("monthly payouts name their days, and no others do")
        if any(not 0 <= day <= 6 for day in self.weekdays) or any(not 1 <= day <= 31 for day in self.monthdays):
            raise ValueError("a weekday is 0 to 6, a day of the month 1 to 31")
        return self


def due_monthdays(day: date) -> list[int]:
    """The days of the month that are meant by this one: on a month's last day also those that it lacks."""
    last = monthrange(day.year, day.month)[1]
    return list(range(day.day, 32)) if day.day == last else [day.day]


def is_due(schedule: PayoutSchedule, day: date) -> bool:
    """True if the schedule means this business date; `db.payout.run.due` asks the same of all sellers at once."""
    match schedule.interval:
        case Interval.DAILY:
            return True
        case Interval.WEEKLY:
            return day.weekday() in schedule.weekdays
        case Interval.MONTHLY:
            return not set(schedule.monthdays).isdisjoint(due_monthdays(day))
        case _:
            return False


_DAYS_BETWEEN_MAX = 31
"""From one due day to the next, of any schedule: a day that a month lacks is its last."""


def next_due(schedule: PayoutSchedule, from_day: date) -> date | None:
    """The first business date from `from_day` on that the schedule means; None: it is manual."""
    days = (from_day + timedelta(days=n) for n in range(_DAYS_BETWEEN_MAX + 1))
    return next((day for day in days if is_due(schedule, day)), None)


def next_run_day(now: datetime, zone: str, run_at: str) -> date:
    """The business date of the next run: today's where the business is, unless its time (`HH:MM`) has come."""
    local = now.astimezone(ZoneInfo(zone))
    passed = local.strftime("%H:%M") >= run_at
    return local.date() + timedelta(days=1 if passed else 0)


class PayoutCall(StrEnum):
    """The calls at the PSP that a payout is made of; each has rows of its own, one for each attempt."""

    TRANSFER = "transfer"
    PAYOUT = "payout"
    REVERSAL = "reversal"


class PayoutInput(Frozen):
    """Starts `payout:{payout_id}`, the first time or again from its row; `status`: the row's. From version 2 on the
    usual way is one step to the bank, and one when it has arrived."""

    version: int = 1
    payout_id: str
    tenant_id: str
    psp: str
    status: PayoutStatus = PayoutStatus.REQUESTED
    task_queue: str
    patience: WaitPolicy = WaitPolicy(poll_first_s=60, poll_max_s=21_600)


class PayoutStep(Frozen):
    """The input of an activity about a payout that needs no more. `waits`: its workflow looks again by itself where the
    PSP repeats an old error under the key; one of an earlier release leaves that to the activity."""

    payout_id: str
    waits: bool = False


class BookTransferStep(Frozen):
    """Carry the PSP's answer about the transfer, or on taking it back, into the row and the ledger."""

    payout_id: str
    call: PayoutCall
    result: TransferResult
    next_check_at: datetime | None = Field(default=None, description="of an unknown one: when it is looked for again")
    at: datetime


class BookPayoutStep(Frozen):
    """Carry the PSP's answer about the payout to the seller's bank there as well. `cancelling`: the answer to an
    attempt to cancel it."""

    payout_id: str
    result: PayoutResult
    next_check_at: datetime
    cancelling: bool = False
    at: datetime


class SendPayoutStep(Frozen):
    """Take a payout as far as plain answers go. `next_check_at`: when it is looked at again."""

    payout_id: str
    next_check_at: datetime
    at: datetime


class PayoutDecision(StrEnum):
    """A person's decision about a payout that needs attention."""

    RETRY = "retry"
    """Make the call again, under a new key: nothing came of the last. Of one that the bank has: wait on."""
    REFERENCE = "reference"
    """It was made, and this is the PSP's name for it."""
    DONE = "done"
    """Taken back by hand at the PSP: the money is ours again."""
    PAID = "paid"
    """The seller has the money, whatever the PSP says of it."""


class PayoutState(Frozen):
    """The state of a payout. `cancel_requested`: and not yet refused. `late`: a person is asked about one that the PSP
    knows by name, so it may still say what became of it. `why` a person is asked, and the decisions that are `offered`.
    """

    status: PayoutStatus
    cancel_requested: bool = False
    late: bool = False
    why: str | None = None
    offered: tuple[PayoutDecision, ...] = ()


class SentPayout(Frozen):
    """`state`: where the payout stands; `unknown`: why the PSP's last answer could not be booked, if it could not."""

    state: PayoutState
    unknown: str | None = None


class BankWaitPolicy(Frozen):
    """The time that a bank may take: working days past the arrival that the PSP expects, then a person is asked.
    `return_look_days`: so many days after it was paid the PSP is asked whether the bank has returned it."""

    days: int = 5
    return_look_days: tuple[int, ...] = (2, 5, 10)

    def return_look(self, paid_at: datetime, *, after: datetime) -> datetime | None:
        """The next time to ask the PSP whether the bank has returned what was paid; None: never again."""
        looks = (paid_at + timedelta(days=days) for days in sorted(self.return_look_days))
        return next((look for look in looks if look > after), None)


BANK_PATIENCE = BankWaitPolicy()


class PayoutResolution(Frozen):
    """A person's decision about a payout that needs attention."""

    decision: PayoutDecision
    reference: str | None = None
    by: str = Field(min_length=1)
    note: str = ""


class PayoutResolutionStep(Frozen):
    """Carry out a person's decision."""

    payout_id: str
    resolution: PayoutResolution
    at: datetime


# --- the run ---


class PayoutPace(Frozen):
    """The pace of a run, from the settings: `page` wallets at a time, `rate_per_s` payouts a second at most, and
    no more while `unsent_max` wait for the PSP."""

    page: int = 500
    rate_per_s: float = 20
    unsent_max: int = 40


class PayoutRunInput(Frozen):
    """Starts a payout run: pay every seller who is due on `business_date`, or, where that is not given, on the date for
    which the schedule started it, in `zone`. The run, `after` and `payouts` are how one that continues as new goes on.
    """

    version: int = 1
    business_date: date | None = None
    zone: str = "UTC"
    by: str = "schedule"
    pace: PayoutPace = PayoutPace()
    run_id: str | None = None
    after: tuple[str, str, str] | None = Field(default=None, description="tenant, seller, currency")
    payouts: int = 0


class OpenRunStep(Frozen):
    """Open the run of a business date; None for the day of `scheduled_at` in `zone`."""

    business_date: date | None = None
    scheduled_at: datetime
    zone: str
    by: str
    at: datetime


class OpenedRun(Frozen):
    """The run that was opened, now or by an earlier attempt."""

    run_id: str
    business_date: date


class ReleaseFundsStep(Frozen):
    """Make available what is due at `due_at`, a page at a time; booked as of `at`."""

    due_at: datetime
    at: datetime
    limit: int = 500


class ReleasedFunds(Frozen):
    """`more`: the page was full, so there may be more to release. `skipped`: held by another transaction just then."""

    orders: int = 0
    skipped: int = 0
    more: bool = False


class PayDueStep(Frozen):
    """Make the payouts of the next sellers who are due, by tenant, seller and currency."""

    run_id: str
    business_date: date
    after: tuple[str, str, str] | None = None
    limit: int
    unsent_max: int
    rate_per_s: float
    at: datetime


class PaidDue(Frozen):
    """`after`: the last seller who was looked at; None when there is no further one."""

    payouts: int = 0
    after: tuple[str, str, str] | None = None


class RunStep(Frozen):
    """The input of an activity about a run that needs no more."""

    run_id: str
    at: datetime


class PayoutRunReport(Frozen):
    """The end of a run. `payouts`: those that it made itself; a repetition makes none."""

    run_id: str
    business_date: date
    payouts: int
