"""The models of a late charge: a payment that had ended unpaid and was paid after all. Versioned by addition: a new
field has a default."""

from datetime import datetime

from domain.model import Frozen
from domain.psp import ChargeResult
from domain.waiting import WaitPolicy

LATE_CHARGE_WORKFLOW = "late_charge"


class LateChargeInput(Frozen):
    """Starts `late_charge:{charge_id}`: a payment that had ended was paid after all. From version 2 on it looks once
    more if it is nudged while the PSP says that it was not."""

    version: int = 1
    payment_id: str
    charge_id: str
    reference: str
    psp: str
    task_queue: str
    patience: WaitPolicy = WaitPolicy()


class LateChargeStep(Frozen):
    """Book a late charge to suspense and record the refunds that it needs."""

    payment_id: str
    charge_id: str
    result: ChargeResult
    at: datetime
