"""The command to type about each kind of task: the same in `paysaga tasks`, `payments show` and a refusal."""

import re

from db.task import CLOSED_BY_HAND, Task
from domain.money import to_major
from domain.payout import WEEKDAYS, Interval, PayoutSchedule

_RESOLVE = "`paysaga payments resolve {payment} --decision"
_LOOK_FOR_IT = (
    f"look for it at the PSP: {_RESOLVE} reference --reference pi_…` if it is there, `… not_charged` if no money "
    "moved, `… retry` to have it looked for again, `… cancel` to undo it"
)
_CLOSE = ", then `paysaga tasks close {task}`"

_HINTS = {
    "review": "`paysaga payments review {payment} --approve` or `--reject`",
    "capture_refused": f"{_RESOLVE} retry`, or `paysaga payments cancel {{payment}}`",
    "amount_mismatch": f"{_RESOLVE} cancel` refunds what came",
    "charge_not_found": _LOOK_FOR_IT,
    "psp_unknown": _LOOK_FOR_IT,
    "past_deadline": f"look at the PSP: {_RESOLVE} retry` once it is decided there, or `… cancel`",
    "authorized_unexpectedly": f"capture or cancel it at the PSP, then {_RESOLVE} retry`, or `… cancel`",
    "stuck": "`paysaga payments nudge {payment}`, `paysaga sweep`; is a worker running?",
    "refund_failed": "`paysaga refunds resolve {refund} --decision retry`, or `reference` if you made it by hand; of "
    "another amount `accept`",
    "refund_came_back": "the buyer still waits: `paysaga refunds create {payment}` or by another way",
    "refund_exceeds": "more was given back in the PSP's dashboard than was left: ask who and why",
    "refund_at_psp": "somebody refunded in the PSP's dashboard what was no sale here: ask who and why",
    "dispute_evidence_due": "`paysaga disputes evidence {dispute} --field name=text`",
    "dispute_exceeds": "say what was refunded: `paysaga disputes evidence {dispute} --field name=text`",
    "dispute_stuck": "`paysaga sweep` takes up one whose workflow was lost; does the PSP answer?",
    "dispute_changed": "compare `paysaga disputes show {dispute}` with the PSP's dashboard",
    "payout_unclear": "look for it at the PSP: `paysaga payouts resolve {object} reference --reference …` if it is "
    "there, `… retry` if not",
    "payout_not_returned": "take the transfer back at the PSP: `paysaga payouts resolve {object} done`, or `… retry`; "
    "if the seller has the money, `… paid`",
    "payout_late": "ask the PSP: `paysaga payouts resolve {object} retry` waits on, `… paid` if the seller has it, `… "
    "done` once it was taken back",
    "payout_unchecked": "look in the PSP's dashboard whether the bank has returned it",
    "payout_stuck": "`paysaga sweep` takes up one whose workflow was lost; does the PSP answer?",
    "payout_not_made": "see why, set it right, then `paysaga payouts create SELLER`, or the run again",
    "payout_run_missed": "`paysaga payouts run --date {object}` makes up for it",
    "unmatched": "`paysaga reconcile discrepancy {object}` says what differs and what can be decided",
    "reconciliation_failed": "`paysaga reconcile show {object}` says why: set it right, run it again",
    "paid_twice": "refund the second charge in the PSP's dashboard",
    "workflow_failing": "see its error in the Temporal UI; once the cause is mended, `paysaga workflows restart "
    "{object} --by NAME` starts it again from its rows",
    "webhook_dead": "`paysaga webhooks dead`, `paysaga webhooks replay whk_…`",
}

WHERE_TO_LOOK = {
    "refund_not_found": " `paysaga refunds list` shows them.",
    "dispute_not_found": " `paysaga disputes list` shows them.",
    "tenant_not_found": " `paysaga keys list` names them.",
    "merchant_not_found": " `paysaga merchants list` shows them.",
    "payout_not_found": " `paysaga payouts list` shows them.",
    "api_key_not_found": " `paysaga keys list` shows them.",
    "task_not_found": " `paysaga tasks` lists what is open.",
}
"""Code of a refusal → where to look for what there is."""


WHERE_TO_LOOK = {
    "refund_not_found": " `paysaga refunds list` shows them.",
    "dispute_not_found": " `paysaga disputes list` shows them.",
    "tenant_not_found": " `paysaga keys list` names them.",
}
"""Code of a refusal → where to look for what there is."""

_REFUND, _DISPUTE = (re.compile(rf"\b{prefix}_[0-9a-z]{{26}}\b") for prefix in ("re", "dp"))


def hint(task: Task) -> str:
    """In words, with the command to type; the ids are the task's own, or of what its detail names."""
    text = _HINTS.get(task.kind, "`paysaga payments show {payment}` explains")
    if task.kind in CLOSED_BY_HAND:
        text += _CLOSE
    refund, dispute = (pattern.search(task.detail) for pattern in (_REFUND, _DISPUTE))
    return text.format(
        payment=task.payment_id or "ID",
        object=task.object_id or "ID",
        task=task.id,
        refund=refund[0] if refund else "re_…",
        dispute=dispute[0] if dispute else "dp_…",
    )


def schedule_words(schedule: PayoutSchedule) -> str:
    """`each friday, from 100.00 INR, of orders that are 7 days old`."""
    match schedule.interval:
        case Interval.WEEKLY:
            when = "each " + ", ".join(WEEKDAYS[day] for day in schedule.weekdays)
        case Interval.MONTHLY:
            when = f"on day {', '.join(map(str, schedule.monthdays))} of the month"
        case Interval.DAILY:
            when = "each day"
        case _:
            when = "only when asked for"
    least = [f"{to_major(amount, currency)} {currency}" for currency, amount in sorted(schedule.minimum.items())]
    old = f", of orders that are {schedule.delay_days} days old" if schedule.delay_days else ""
    return when + (f", from {', '.join(least)}" if least else "") + old
