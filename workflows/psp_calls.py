"""Calls at the PSP that end UNKNOWN where there is no answer, or go on as durable ones."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.calls import Calls, reason

with workflow.unsafe.imports_passed_through():
    from activities.charge import ChargeActivities
    from activities.refund import RefundActivities
    from activities.usual import UsualActivities
    from domain.payment import ChargeStep, Paid, PayStep, Taken, TakeStep
    from domain.psp import ChargeOutcome, ChargeResult, RefundOutcome, RefundResult
    from domain.refund import RefundStep

_LOOK_WITHIN = timedelta(minutes=10)


class PspCalls(Calls):
    """The calls about a charge and its refunds in which the lack of an answer is decided about."""

    async def charge_once(self, step: ChargeStep) -> ChargeResult:
        try:
            return await self.local(ChargeActivities.charge_once, step, f"charge at {self.psp}")
        except FailureError as error:
            return _unknown(error)

    async def charge_and_end(self, step: PayStep) -> Paid:
        """In the task; without a status where the answer is not plain, or nothing was written."""
        try:
            return await self.local(UsualActivities.charge_and_end, step, f"charge at {self.psp}, settle")
        except FailureError as error:
            return Paid(result=_unknown(error))

    async def check_charge(self, step: ChargeStep) -> ChargeResult:
        """One look; UNKNOWN when there was no answer: the saga's own timer looks again."""
        try:
            return await self.durable(ChargeActivities.check_charge, step, f"look at {self.psp}", within=_LOOK_WITHIN)
        except FailureError as error:
            return _unknown(error)

    async def charge_until_known(self, step: ChargeStep) -> ChargeResult:
        """UNKNOWN with `again_s`: to be called again after so long."""
        return await self.durable(ChargeActivities.charge_until_known, step, f"charge at {self.psp} until known")

    async def void_once(self, step: ChargeStep) -> ChargeResult | None:
        """One attempt in the task; None: there was no answer."""
        try:
            return await self.local(ChargeActivities.void_charge, step, f"void at {self.psp}")
        except FailureError:
            return None

    async def void_until_known(self, step: ChargeStep) -> ChargeResult:
        """UNKNOWN with `again_s`: to be called again after so long."""
        return await self.durable(ChargeActivities.void_charge, step, f"void at {self.psp} until known")

    async def capture_once(self, step: ChargeStep) -> ChargeResult:
        """One attempt in the task, which may end UNKNOWN."""
        try:
            return await self.local(ChargeActivities.capture_charge, step, f"capture at {self.psp}")
        except FailureError as error:
            return _unknown(error)

    async def capture_until_known(self, step: ChargeStep) -> ChargeResult:
        """UNKNOWN with `again_s`: to be called again after so long."""
        return await self.durable(ChargeActivities.capture_charge, step, f"capture at {self.psp} until known")

    async def capture_and_settle(self, step: TakeStep) -> Taken:
        """In the task; without a result where that was not done, or not known to be."""
        try:
            return await self.local(UsualActivities.capture_and_settle, step, f"capture at {self.psp}, settle")
        except FailureError:
            return Taken()

    async def refund_once(self, step: RefundStep) -> RefundResult:
        try:
            return await self.local(RefundActivities.refund_once, step, f"refund at {self.psp}")
        except FailureError as error:
            return RefundResult(outcome=RefundOutcome.UNKNOWN, reason=reason(error))

    async def refund_until_known(self, step: RefundStep) -> RefundResult:
        """UNKNOWN with `again_s`: to be called again after so long."""
        return await self.durable(RefundActivities.refund_until_known, step, f"refund at {self.psp}")

    async def check_refund(self, step: RefundStep) -> RefundResult:
        return await self.durable(RefundActivities.check_refund, step, f"look at the refund at {self.psp}")


def _unknown(error: FailureError) -> ChargeResult:
    return ChargeResult(outcome=ChargeOutcome.UNKNOWN, reason=reason(error), answered_at=workflow.now())
