"""Messages that reach a workflow while it runs: each only sets something that the workflow reads when it waits."""

import contextlib
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.inputs import signal_input

with workflow.unsafe.imports_passed_through():
    from domain.decisions import in_words
    from domain.messages import CAPTURE, CancelRequest, Decision, Nudge, Resolution


class PendingMessages:
    """Signals are not lost and not queued: ten nudges before the workflow looks are one look at the PSP."""

    def __init__(self) -> None:
        self.nudged = False
        self.cancel: CancelRequest | None = None
        self.resolution: Resolution | None = None
        self.offered: tuple[Decision, ...] | None = None
        """The decisions that work for what a person is asked about now; None: it is not known."""
        self._cancel_was_noticed = False
        self._capture_requested = False

    def nudge(self) -> None:
        self.nudged = True

    def nudge_signalled(self, inputs: tuple[object, ...]) -> None:
        """The signal `nudge`, whatever came with it."""
        self.nudged = True
        self._capture_requested = self._capture_requested or signal_input(Nudge, inputs).reason == CAPTURE

    def cancel_signalled(self, inputs: tuple[object, ...]) -> None:
        """The signal `cancel`, whatever came with it."""
        self.request_cancel(signal_input(CancelRequest, inputs))

    def request_cancel(self, request: CancelRequest) -> None:
        if self.cancel is None:
            self.cancel = request

    @property
    def has_message(self) -> bool:
        return self.nudged or self.resolution is not None or (self.cancel is not None and not self._cancel_was_noticed)

    async def wait(self, gap: timedelta, deadline: datetime | None, summary: str) -> None:
        """Until a message, the end of `gap`, or the deadline, whichever is first."""
        if not self.has_message:
            until = gap if deadline is None else min(gap, deadline - workflow.now())
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self.has_message, timeout=max(until, timedelta(0)), timeout_summary=summary
                )
        self.nudged = False
        self._cancel_was_noticed = self.cancel is not None

    def require_offered(self, resolution: Resolution, otherwise: tuple[Decision, ...]) -> None:
        """Raises ApplicationError, which refuses the update: the decision would change nothing."""
        offered = otherwise if self.offered is None else self.offered
        if not offered:
            raise ApplicationError("Nothing waits for a decision about it.", type="NotWaiting")
        if resolution.decision not in offered:
            detail = f"The decision {resolution.decision} changes nothing here: say {in_words(offered)}."
            raise ApplicationError(detail, type="NotOffered")
        if resolution.decision is Decision.REFERENCE and not resolution.reference:
            raise ApplicationError("decision reference needs the PSP's reference.", type="ReferenceMissing")

    def take_nudge(self) -> bool:
        """Whether a nudge came since this was asked last, or since the last wait: an earlier one has its answer."""
        nudged, self.nudged = self.nudged, False
        return nudged

    def take_capture(self) -> bool:
        """Whether a capture was requested since this was asked last."""
        requested, self._capture_requested = self._capture_requested, False
        return requested

    def take_resolution(self) -> Resolution | None:
        resolution, self.resolution = self.resolution, None
        return resolution
