"""The commands to type about each kind of task: the same in `paysaga tasks`, `payments show` and a refusal."""

import re
import shlex

from db.task import CLOSED_BY_HAND, Task
from domain.decisions import ACCEPTABLE, told
from domain.money import to_major
from domain.payout import WEEKDAYS, Interval, PayoutSchedule
from domain.unknown import TASK_KIND

_RESOLVE = "`paysaga payments resolve {payment} --decision"
_LOOK_FOR_IT = f"""look for it at the PSP; if it is there, with the PSP's id of it:
{_RESOLVE} reference --reference pi_…`
if no money moved:
{_RESOLVE} not_charged`
to have it looked for again:
{_RESOLVE} retry`
to undo it:
{_RESOLVE} cancel`"""
_REFUND = """to ask for it again:
`paysaga refunds resolve {refund} --decision retry`
if you made it by hand, with the PSP's id of it:
`paysaga refunds resolve {refund} --decision reference --reference re_…`
if the PSP made another amount of it, which may stand:
`paysaga refunds resolve {refund} --decision accept`"""
_EVIDENCE = "`paysaga disputes evidence {dispute} --field name=text`"
_PAYOUT = "`paysaga payouts resolve {object}"
_SWEEP = "does the PSP answer? Take up one whose workflow was lost:\n`paysaga sweep`"

_HINTS = {
    "review": """let it go on, or end it:
`paysaga payments review {payment} --approve`
`paysaga payments review {payment} --reject`""",
    "capture_refused": f"""try again, or let it go:
{_RESOLVE} retry`
`paysaga payments cancel {{payment}}`""",
    "amount_mismatch": f"""refund what came:
{_RESOLVE} cancel`""",
    f"amount_mismatch: {ACCEPTABLE}": f"""credit the sellers with what came:
{_RESOLVE} accept`
refund it:
{_RESOLVE} cancel`""",
    "charge_not_found": _LOOK_FOR_IT,
    "psp_unknown": _LOOK_FOR_IT,
    "past_deadline": f"""look at the PSP; once it is decided there:
{_RESOLVE} retry`
to undo it:
{_RESOLVE} cancel`""",
    "authorized_unexpectedly": f"""capture or cancel it at the PSP, then:
{_RESOLVE} retry`
to undo it:
{_RESOLVE} cancel`""",
    TASK_KIND: """it is asked again by itself; to have it asked now, or to undo it as soon as
it is certain what the PSP did:
`paysaga payments nudge {payment}`
`paysaga payments cancel {payment}`""",
    "stuck": """is a worker running? Have the PSP asked, and take up a lost workflow:
`paysaga payments nudge {payment}`
`paysaga sweep`""",
    "refund_failed": _REFUND,
    "refund_came_back": """the buyer still waits; refund it, or pay by another way:
`paysaga refunds create {payment}`""",
    "refund_exceeds": "more was given back than was paid, in the PSP's dashboard or\nbeside a dispute: ask who and why",
    "refund_at_psp": "somebody refunded in the PSP's dashboard what was no sale here: ask who and why",
    "dispute_evidence_due": f"""all of it at once, one --field each:
{_EVIDENCE}""",
    "dispute_exceeds": f"""say what was refunded:
{_EVIDENCE}""",
    "dispute_stuck": _SWEEP,
    "dispute_changed": """compare it with the PSP's dashboard:
`paysaga disputes show {dispute}`""",
    "payout_unclear": f"""look for it at the PSP; if it is there, with the PSP's id of it:
{_PAYOUT} reference --reference tr_…`
if it is not:
{_PAYOUT} retry`
if the seller has the money:
{_PAYOUT} paid`
once the whole transfer was taken back:
{_PAYOUT} done`""",
    "payout_amount_mismatch": f"""undo at the PSP what it made (take the transfer back, cancel the payout), then:
{_PAYOUT} retry`
if you made the right one by hand, with the PSP's id of it:
{_PAYOUT} reference --reference tr_…`
if the seller has it:
{_PAYOUT} paid`
once the whole transfer was taken back:
{_PAYOUT} done`""",
    "payout_not_returned": f"""take the transfer back at the PSP, then:
{_PAYOUT} done`
to have the PSP asked again:
{_PAYOUT} retry`
if the seller has the money:
{_PAYOUT} paid`""",
    "payout_late": f"""ask the PSP; to wait on:
{_PAYOUT} retry`
if the seller has it:
{_PAYOUT} paid`
once it was taken back:
{_PAYOUT} done`""",
    "payout_unchecked": "look in the PSP's dashboard whether the bank has returned it",
    "payout_stuck": _SWEEP,
    "payout_unanswered": """it is asked again by itself; to see when, or to end it as soon as
it is certain what the PSP did:
`paysaga payouts show {object}`
`paysaga payouts cancel {object}`""",
    "payout_not_made": """see why, and set it right:
`paysaga payouts create {seller}`""",
    "payout_run_missed": """make up for it:
`paysaga payouts run --date {object}`""",
    "unmatched": """see what differs and what can be decided:
`paysaga reconcile discrepancy {object}`""",
    "reconciliation_failed": """see why, set it right, run it again:
`paysaga reconcile show {object}`""",
    "paid_twice": "refund the second charge in the PSP's dashboard",
    "workflow_failing": """see its error in the Temporal UI; once the cause is mended, start it again:
`paysaga workflows restart {object}`""",
    "webhook_dead": """see why, and have it tried again:
`paysaga dead-letters list --object {letter}`""",
}
_EXPLAIN = """see why:
`paysaga payments show {payment}`"""
_CLOSE = """
afterwards:
`paysaga tasks close {task} --note "what was done"`"""

_LISTS = {
    "refund": "find it:\n`paysaga refunds list --payment {payment}`",
    "dispute": "find it:\n`paysaga disputes list`",
}
"""Where the detail of a task does not name its object."""

_NAMED = {noun: re.compile(rf"\b{prefix}_[0-9a-z]{{26}}\b") for noun, prefix in
          (("refund", "re"), ("dispute", "dp"))}  # fmt: skip

WHERE_TO_LOOK = {
    "reconciliation_not_found": " `paysaga reconcile list` shows them.",
    "discrepancy_not_found": " `paysaga reconcile discrepancies` shows them.",
    "refund_not_found": " `paysaga refunds list` shows them.",
    "dispute_not_found": " `paysaga disputes list` shows them.",
    "tenant_not_found": " `paysaga tenants list` names them.",
    "merchant_not_found": " `paysaga merchants list` shows them.",
    "payout_not_found": " `paysaga payouts list` shows them.",
    "operator_not_found": " `paysaga operators list` shows them.",
    "api_key_not_found": " `paysaga keys list` shows them.",
    "dead_letter_not_found": " `paysaga dead-letters list` shows them.",
    "task_not_found": " `paysaga tasks` lists what is open.",
}
"""Code of a refusal → where to look for what there is."""


def hint(task: Task) -> str:
    """In words, with the commands to type, each whole and on a line of its own, between backticks; the ids are the
    task's own, or of what its detail names."""
    acceptable = _HINTS.get(f"{task.kind}: {ACCEPTABLE}") if ACCEPTABLE in task.detail else None
    text = acceptable or _HINTS.get(task.kind, _EXPLAIN)
    for noun, pattern in _NAMED.items():
        if f"{{{noun}}}" in text:
            about = {name: line for line in task.detail.splitlines() for name in pattern.findall(line)}
            each = [_offered(text, line).replace(f"{{{noun}}}", name) for name, line in about.items()]
            text = "\n".join(each) if each else _LISTS[noun]
    text = _offered(text, task.detail) if task.kind != "refund_failed" else text
    if task.kind in CLOSED_BY_HAND and task.kind != "webhook_dead":  # which its dead letter closes
        text += _CLOSE
    if task.kind == TASK_KIND and _NAMED["refund"].search(task.detail):
        text = "it is asked for again by itself; to have it asked for now:\n`paysaga sweep`"
    return text.format(
        payment=task.payment_id or "ID",
        object=shlex.quote(task.object_id or "ID"),
        letter=shlex.quote(task.payment_id or task.object_id or "ID"),
        seller=_seller(task.object_id or ""),
        task=task.id,
    )


_DECISION = re.compile(r"resolve \S+ (?:--decision )?(\w+)")


def _offered(text: str, detail: str) -> str:
    """The hint without the commands of decisions that would be refused, by what the detail says that is to be decided;
    and without the lines that say when to type them."""
    decisions = told(detail)
    lines: list[str] = []
    for line in text.splitlines():
        command = _DECISION.search(line)
        if decisions is None or command is None or command[1] in decisions:
            lines.append(line)
        elif lines and not lines[-1].startswith("`"):
            lines.pop()
    return "\n".join(lines)


def _seller(object_id: str) -> str:
    """A seller whom a payout run left out, `tenant/seller/currency`, as arguments."""
    tenant, _, rest = object_id.partition("/")
    seller, _, currency = rest.rpartition("/")
    return f"{shlex.quote(seller)} --tenant {shlex.quote(tenant)} --currency {currency}" if seller else "SELLER"


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
