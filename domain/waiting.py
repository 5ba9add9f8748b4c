"""Waiting: deadlines, the gaps between two looks at the PSP, and the queue on which its answers are waited for."""

from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from domain.model import Frozen


def psp_queue(task_queue: str, psp: str) -> str:
    """The task queue of a PSP's durable calls: its own, so that a slow PSP holds up no other."""
    return f"{task_queue}-psp-{psp}"


def batch_queue(task_queue: str) -> str:
    """The task queue of what takes minutes: served by few at a time, so that payments find the database free."""
    return f"{task_queue}-batch"


class Backoff(Frozen):
    """Growing gaps, in seconds: `first_s`, then each `factor` times the one before, up to `max_s`."""

    first_s: float
    max_s: float
    factor: float = 2

    @property
    def first(self) -> timedelta:
        return timedelta(seconds=self.first_s)

    @property
    def longest(self) -> timedelta:
        return timedelta(seconds=self.max_s)

    def after(self, gap: timedelta) -> timedelta:
        """The gap that follows `gap`."""
        return min(gap * self.factor, self.longest)

    def nth(self, number: int) -> timedelta:
        """The gap after `number` others; of a great many it is the longest."""
        return timedelta(seconds=min(self.max_s, self.first_s * self.factor ** min(number, 16)))


class WaitPolicy(Frozen):
    """The deadlines and gaps of a workflow, in seconds: from the settings, fixed when it starts, kept in its input.

    Histories and running workflows name these fields: a new one has a default, and none is renamed.
    """

    confirm_s: float = 86_400
    action_s: float = 3_600
    pending_s: float = 259_200
    authorization_s: float = Field(default=518_400, description="where the PSP does not say how long it holds")
    authorization_margin_s: float = Field(default=21_600, description="decided so long before the PSP lets go")
    evidence_warning_s: float = Field(default=172_800, description="a person is told so long before the deadline")
    present_s: float = Field(default=0, description="so long the buyer is taken to wait at a screen")
    present_max_s: float = Field(default=15, description="the longest gap meanwhile")
    poll_first_s: float = 5
    poll_max_s: float = 3_600
    poll_factor: float = 2
    unknown_s: float = Field(default=600, description="so long what is not found under a dead key is looked for")

    @property
    def polls(self) -> Backoff:
        """The gaps between two looks at the PSP while nobody waits at a screen."""
        return Backoff(first_s=self.poll_first_s, max_s=self.poll_max_s, factor=self.poll_factor)

    @property
    def _present_polls(self) -> Backoff:
        longest = min(self.present_max_s, self.poll_max_s)
        return Backoff(first_s=min(self.poll_first_s, longest), max_s=longest, factor=self.poll_factor)

    @property
    def first_gap(self) -> timedelta:
        """Until the first look at a charge that the buyer may be waiting for."""
        return (self._present_polls if self.present_s > 0 else self.polls).first

    def gap_after(self, gap: timedelta, waited: timedelta) -> timedelta:
        """The gap that follows `gap` once a charge was waited for so long: a short one while the buyer is taken to wait
        at a screen, then an ever longer one."""
        is_present = waited < timedelta(seconds=self.present_s)
        return (self._present_polls if is_present else self.polls).after(gap)


AT_A_SCREEN = ("card", "upi", "netbanking", "wallet")
"""Methods whose buyer waits for the outcome: 3DS, an app that asks for consent, the bank's page."""

BANK_DEBIT = {"poll_first_s": 3_600.0, "poll_max_s": 21_600.0}
"""The gaps for every other method: a bank debit takes days, and nobody waits at a screen."""


class WaitPolicies(Frozen):
    """The policy of each payment method; `default` for those that have none of their own."""

    default: WaitPolicy = WaitPolicy()
    by_method: Mapping[str, WaitPolicy] = Field(default_factory=dict)

    def of(self, method: str) -> WaitPolicy:
        return self.by_method.get(method, self.default)
