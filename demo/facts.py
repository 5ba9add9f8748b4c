"""The real end of a story: by the API, by the PSP's own log and by the ledger; and its differences from the expected
one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.shop import CURRENCY, Psp, Shop
from demo.stories.story import Story
from domain.money import parse_major, to_major

AT_PSP = "at PSP"


@dataclass(frozen=True)
class Facts:
    """Amounts are decimal strings of the demo's one currency; `ledger` is by account, without those at zero."""

    status: str
    failure: str | None
    charged: tuple[str, ...]
    refunded: tuple[str, ...]
    ledger: Mapping[str, str]
    let_go: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    asked: bool = True
    refund_status: str | None = None
    dispute_status: str | None = None


async def facts_of(shop: Shop, psp: Psp, payment_id: str, checkout: str) -> Facts:
    """Read the facts of a payment from the API, the PSP's log and the ledger."""
    payment = await shop.payment(payment_id)
    log = await psp.log(checkout)
    failure = payment["failure"]
    return Facts(
        status=payment["status"],
        failure=failure["code"] if failure else None,
        charged=_amounts(log["charges"], "succeeded"),
        refunded=_amounts(log["refunds"], "succeeded"),
        let_go=_amounts(log["authorizations"], "voided", "expired"),
        lost=_amounts(log["disputes"], "lost"),
        asked=bool(log["requests"]),
        refund_status=_of_orders(payment, "refund_status"),
        dispute_status=_of_orders(payment, "dispute_status"),
        ledger=_by_account(await shop.ledger(payment_id)),
    )


def _amounts(entries: list[dict[str, Any]], *statuses: str) -> tuple[str, ...]:
    return tuple(to_major(entry["amount"], CURRENCY) for entry in entries if entry["status"] in statuses)


def _of_orders(payment: dict[str, Any], name: str) -> str | None:
    return next((order[name] for order in payment["payment_orders"] if order[name]), None)


def _by_account(transactions: list[dict[str, Any]]) -> dict[str, str]:
    """The sum that the PSP holds for us, and whose it is: the first is the sum of all the others."""
    totals: dict[str, int] = {}
    for posting in (posting for transaction in transactions for posting in transaction["postings"]):
        debit = parse_major(posting["debit"] or "0", CURRENCY) - parse_major(posting["credit"] or "0", CURRENCY)
        name = account_name(posting["account"])
        totals[name] = totals.get(name, 0) + (debit if name == AT_PSP else -debit)
    return {name: to_major(total, CURRENCY) for name, total in totals.items() if total}


def account_name(account: str) -> str:
    """`psp_clearing:stripe` as a reader says it: `at PSP`."""
    kind, _, rest = account.partition(":")
    seller = rest.partition(":")[0].removeprefix("seller_")
    if kind in ("wallet", "receivable"):
        return seller if kind == "wallet" else f"{seller} owes"
    names = {"psp_clearing": AT_PSP, "platform_fees": "our fee", "psp_fees": "PSP fee", "disputes_held": "claimed back"}
    return names.get(kind, kind)


def differences(story: Story, facts: Facts) -> list[str]:
    """One sentence for each thing that is not as the story tells it."""
    wrong = []
    if facts.status != story.status:
        wrong.append(f"expected {story.status}, got {facts.status}")
    if facts.failure != story.failure:
        wrong.append(f"expected failure {story.failure or 'none'}, got {facts.failure or 'none'}")
    if facts.asked != story.asked:
        wrong.append("the PSP should not have heard of it" if facts.asked else "the PSP has not heard of it")
    for done, expected, got in (
        ("charged", story.charged, facts.charged),
        ("refunded", story.refunded, facts.refunded),
        ("let go", story.let_go, facts.let_go),
        ("given to the buyer's bank", story.lost, facts.lost),
    ):
        if expected != got:
            wrong.append(f"the PSP should have {done} {_list(expected)} and {done} {_list(got)}")
    for what, wanted, is_now in (
        ("refund", story.refund_status, facts.refund_status),
        ("dispute", story.dispute_status, facts.dispute_status),
    ):
        if wanted != is_now:
            wrong.append(f"the {what} status should be {wanted or 'none'} and is {is_now or 'none'}")
    if dict(facts.ledger) != dict(story.ledger):
        wrong.append(f"the ledger should be {formula(story.ledger)} and is {formula(facts.ledger)}")
    return wrong


def _list(amounts: tuple[str, ...]) -> str:
    return " and ".join(amounts) or "nothing"


def formula(ledger: Mapping[str, str]) -> str:
    """`485.20 = anna 485.00 + our fee 15.00 − PSP fee 14.80`: what the PSP holds, and whose it is."""
    if not ledger:
        return "nothing booked"
    whose = sorted((name for name in ledger if name != AT_PSP), key=lambda name: (_ORDER.get(name, 0), name))
    parts = ""
    for name in whose:
        minus = ledger[name].startswith("-")
        sign = ("− " if minus else "") if not parts else (" − " if minus else " + ")
        parts += f"{sign}{name} {ledger[name].removeprefix('-')}"
    return f"{ledger.get(AT_PSP, '0.00').replace('-', '−')} = {parts or '0'}"


_ORDER = {"our fee": 1, "PSP fee": 2, "claimed back": 3, "suspense": 4}
