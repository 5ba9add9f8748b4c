"""The sweeper's report."""

from domain.model import Frozen

SWEEP_WORKFLOW = "sweep"


class SweepReport(Frozen):
    """Numbers of what was started again, nudged or shown to a person."""

    restarted: int = 0
    nudged: int = 0
    late_charges: int = 0
    refunds: int = 0
    disputes: int = 0
    payouts: int = 0
    reconciliations: int = 0
    tasks: int = 0
