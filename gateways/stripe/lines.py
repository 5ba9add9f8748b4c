"""The movements of our balance at Stripe, page by page, for reconciliation."""

import math
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from domain.psp import PayoutTraces
from domain.reconciliation.lines import PspLines
from gateways.call import LookupOutcome, Refusal, Unanswered
from gateways.stripe.line_objects import line_of
from gateways.stripe.objects import UNREADABLE, Object, text_or_none, trace_of
from gateways.stripe.payouts import PAYOUTS
from gateways.stripe.wire import PAGE_SIZE, StripeCalls

TRANSACTIONS = "/v1/balance_transactions"


@dataclass(frozen=True)
class LinesLookup:
    """The result of asking for a page; `reason` of an UNKNOWN as in ChargeResult."""

    outcome: LookupOutcome
    page: PspLines
    reason: str | None = None


@dataclass(frozen=True)
class TracesLookup:
    """The result of asking for the banks' references of payouts; `reason` of an UNKNOWN as in ChargeResult."""

    outcome: LookupOutcome
    traces: PayoutTraces
    reason: str | None = None


class StripeLines(StripeCalls):
    """The part of the adapter that lists what moved our balance, and how our bank calls what was paid to it."""

    async def list_lines(
        self,
        *,
        created_from: datetime,
        created_to: datetime,
        cursor: str | None,
        otherwise_at: datetime,
        timeout_s: float,
    ) -> PspLines:
        # Stripe's times are whole seconds: rounded up on both sides, windows that meet neither overlap nor leave a gap.
        window = {"gte": math.ceil(created_from.timestamp()), "lt": math.ceil(created_to.timestamp())}
        found = await self._run(
            "list_lines", timeout_s, _unknown_lines, partial(self._page, window, cursor, otherwise_at)
        )
        return found.page

    async def _page(
        self, window: dict[str, int], cursor: str | None, otherwise_at: datetime, deadline: float
    ) -> LinesLookup:
        # The newest come first, so what is booked meanwhile does not move the pages that follow.
        query: Object = {
            "created": window,
            "limit": PAGE_SIZE,
            "expand": ["data.source", "data.source.transfer"],
            **({"starting_after": cursor} if cursor else {}),
        }
        try:
            answer = await self._send(deadline, "get", TRANSACTIONS, query)
        except Refusal:
            raise Unanswered("unrecognised") from None
        try:
            page = _read_page(answer, cursor, otherwise_at)
        except UNREADABLE:
            raise Unanswered("malformed") from None
        return LinesLookup(LookupOutcome.FOUND, page)

    async def list_traces(self, *, created_from: datetime, timeout_s: float) -> PayoutTraces:
        steps = partial(self._traces, math.floor(created_from.timestamp()))
        return (await self._run("list_traces", timeout_s, _unknown_traces, steps)).traces

    async def _traces(self, since_s: int, deadline: float) -> TracesLookup:
        payouts = await self._find(deadline, PAYOUTS, {"created": {"gte": since_s}}, trace_of)
        told = ((text_or_none(payout.get("id")), trace_of(payout)) for payout in payouts)
        traces = PayoutTraces(traces=tuple((name, trace) for name, trace in told if name and trace))
        return TracesLookup(LookupOutcome.FOUND, traces)


def _read_page(answer: Object, cursor: str | None, otherwise_at: datetime) -> PspLines:
    """The page of an answer. Raises one of UNREADABLE where it does not say how to go on."""
    entries, more = answer["data"], answer["has_more"]
    if not isinstance(entries, list) or not isinstance(more, bool):
        raise TypeError("not a page")
    following = entries[-1]["id"] if more else None
    if more and (not isinstance(following, str) or following in ("", cursor)):
        raise ValueError("the page names no next one")
    return PspLines(lines=tuple(line_of(entry, otherwise_at) for entry in entries), cursor=following)


def _unknown_traces(reason: str) -> TracesLookup:
    return TracesLookup(LookupOutcome.UNKNOWN, PayoutTraces(reason=reason), reason)


def _unknown_lines(reason: str) -> LinesLookup:
    return LinesLookup(LookupOutcome.UNKNOWN, PspLines(reason=reason), reason)
