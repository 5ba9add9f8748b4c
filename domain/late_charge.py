"""Late charge: TODO docstring."""

from datetime import datetime

from domain.model import Frozen
from domain.psp import ChargeResult
from domain.waiting import WaitPolicy

LATE_CHARGE_WORKFLOW = "late_charge"


class LateChargeInput(Frozen):
    """Starts `late_charge:{charge_id}`: a payment that had ended was paid after all."""

    version: int = 1
    payment_id: str
    charge_id: str
    reference: str
    psp: str
    task_queue: str
    patience: WaitPolicy = WaitPolicy()


class LateChargeStep(Frozen):
    payment_id: str
    charge_id: str
    result: ChargeResult
    at: datetime
