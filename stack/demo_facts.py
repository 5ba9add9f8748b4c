"""How a story really ended: by the API, by the PSP's own log and by the ledger; and how that differs from its plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from domain.money import parse_major, to_major
from stack.demo_shop import CURRENCY, Psp, Shop
from stack.demo_stories import Story

AT_PSP = "at PSP"


@dataclass(frozen=True)
class Facts:
    """Amounts are decimal strings of the demo's one currency; `ledger` is by account, without those at zero."""

    status: str
    failure: str | None
    charged: tuple[str, ...]
    refunded: tuple[str, ...]
    ledger: Mapping[str, str]


async def facts_of(shop: Shop, psp: Psp, payment_id: str, checkout: str) -> Facts:
    payment = await shop.payment(payment_id)
    log = await psp.log(checkout)
    failure = payment["failure"]
    return Facts(
        status=payment["status"],
        failure=failure["code"] if failure else None,
        charged=tuple(to_major(charge["amount"], CURRENCY) for charge in log["charges"]),
        refunded=tuple(
            to_major(refund["amount"], CURRENCY) for refund in log["refunds"] if refund["status"] == "succeeded"
        ),
        ledger=_by_account(await shop.ledger(payment_id)),
    )


def _by_account(transactions: list[dict[str, Any]]) -> dict[str, str]:
    """What the PSP holds for us, and whose it is: the first is the sum of all the others."""
    totals: dict[str, int] = {}
    for posting in (posting for transaction in transactions for posting in transaction["postings"]):
        debit = parse_major(posting["debit"] or "0", CURRENCY) - parse_major(posting["credit"] or "0", CURRENCY)
        name = account_name(posting["account"])
        totals[name] = totals.get(name, 0) + (debit if name == AT_PSP else -debit)
    return {name: to_major(total, CURRENCY) for name, total in totals.items() if total}


def account_name(account: str) -> str:
    """`psp_clearing:stripe` as a reader says it: `at PSP`."""
    kind, _, rest = account.partition(":")
    if kind == "wallet":
        return rest.partition(":")[0].removeprefix("seller_")
    return {"psp_clearing": AT_PSP, "platform_fees": "our fee", "psp_fees": "PSP fee"}.get(kind, kind)


def differences(story: Story, facts: Facts) -> list[str]:
    """One sentence for each thing that is not as the story tells it."""
    wrong = []
    if facts.status != story.status:
        wrong.append(f"expected {story.status}, got {facts.status}")
    if facts.failure != story.failure:
        wrong.append(f"expected failure {story.failure or 'none'}, got {facts.failure or 'none'}")
    if facts.charged != story.charged:
        wrong.append(f"the PSP should have charged {_list(story.charged)} and charged {_list(facts.charged)}")
    if facts.refunded != story.refunded:
        wrong.append(f"the PSP should have refunded {_list(story.refunded)} and refunded {_list(facts.refunded)}")
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


_ORDER = {"our fee": 1, "PSP fee": 2, "suspense": 3}
