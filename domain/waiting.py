"""Waiting: deadlines, the gaps between two looks at the PSP, and the queue on which its answers are waited for."""

from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from domain.model import Frozen


def psp_queue(task_queue: str, psp: str) -> str:
    """The task queue of a PSP's durable calls: its own, so that a slow PSP holds up no other."""
    return f"{task_queue}-psp-{psp}"


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
    poll_first_s: float = 5
    poll_max_s: float = 3_600
    poll_factor: float = 2

    @property
    def polls(self) -> Backoff:
        """The gaps between two looks at the PSP."""
        return Backoff(first_s=self.poll_first_s, max_s=self.poll_max_s, factor=self.poll_factor)


class WaitPolicies(Frozen):
    """The policy of each payment method; `default` for those that have none of their own."""

    default: WaitPolicy = WaitPolicy()
    by_method: Mapping[str, WaitPolicy] = Field(default_factory=dict)

    def of(self, method: str) -> WaitPolicy:
        return self.by_method.get(method, self.default)
