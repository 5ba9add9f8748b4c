"""`/v1/transactions`: a buyer's or seller's history."""

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Annotated, Literal

from fastapi import Path, Query, Response
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api import examples
from api.access import PaymentsReader, caller
from api.context import RuntimeOf, json_answer
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.fields import FailureOut, Out
from api.payment.shapes import PaymentOrderOut
from api.problems import READ_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from db.history import STATUSES, Entry, EntryType, Filters, Role
from domain.ids import is_client_id
from domain.money import to_major
from domain.status import DisputeStatus, PayoutStatus, RefundStatus
from services import history

router = Router(prefix="/v1", tags=["history"], route_class=StrictRoute)


# --- shapes ---


class HistoryPayment(PaymentOrderOut):
    """A payment order: paid by the buyer, earned by the seller."""

    type: Literal["payment"] = "payment"
    checkout_id: str | None
    buyer_id: str | None = Field(description="null for a merchant, which does not see the buyer")


class HistoryRefund(Out):
    """Money that goes back to the buyer; in a seller's history the seller's share of it."""

    id: str = Field(description="the refund", examples=["re_01kafm6e8v5d3f7h1k9m2p4r6t"])
    object: Literal["refund"] = "refund"
    type: Literal["refund"] = "refund"
    payment_id: str
    payment_order_id: str | None = Field(description="null: it is about several orders")
    amount: str
    currency: str
    status: RefundStatus
    origin: Literal["request", "psp", "compensation", "late_charge"] = Field(
        description="request: asked for here; psp: made at the PSP; the others undo a charge, and no seller sees them"
    )
    reason: str | None
    failure: FailureOut | None
    created_at: datetime = Field(description="in a seller's history: when funds were set aside for it")


class HistoryDispute(Out):
    """Money that the buyer's bank claims back; in a seller's history the seller's share of it."""

    id: str = Field(description="the dispute", examples=["dp_01kafm6e8w6e4g8j2m0n3q5s7v"])
    object: Literal["dispute"] = "dispute"
    type: Literal["dispute"] = "dispute"
    payment_id: str
    payment_order_id: str | None = Field(description="null: it is about several orders")
    amount: str
    currency: str
    status: DisputeStatus
    category: str | None = Field(description="why, in the bank's word", examples=["fraudulent"])
    evidence_due_at: datetime | None
    created_at: datetime = Field(description="in a seller's history: when funds were set aside for it")


class HistoryPayout(Out):
    """A payout to a seller; in a seller's history alone."""

    id: str = Field(examples=["pt_01kafm6e8x7f5h9k3n1p4r6t8w"])
    object: Literal["payout"] = "payout"
    type: Literal["payout"] = "payout"
    amount: str
    currency: str
    status: PayoutStatus
    business_date: date | None = Field(description="of the run that made it; null: it was asked for")
    arrival_at: datetime | None = Field(description="when the PSP expects it at the seller's bank")
    failure: FailureOut | None
    created_at: datetime


HistoryEntry = Annotated[HistoryPayment | HistoryRefund | HistoryDispute | HistoryPayout, Field(discriminator="object")]


class HistoryList(Out):
    model_config = ConfigDict(frozen=True, json_schema_extra={"example": examples.HISTORY})

    object: Literal["list"] = "list"
    data: list[HistoryEntry]
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null on the last one")


_HISTORY: dict[EntryType, type[HistoryPayment] | type[HistoryRefund] | type[HistoryDispute] | type[HistoryPayout]] = {
    EntryType.PAYMENT: HistoryPayment,
    EntryType.REFUND: HistoryRefund,
    EntryType.DISPUTE: HistoryDispute,
    EntryType.PAYOUT: HistoryPayout,
}


def history_out(row: Entry) -> HistoryEntry:
    """The shape of its type. What the buyer has to do next is shown with the payment alone."""
    entry = _HISTORY[row.type]
    fields = row.model_dump(include=set(entry.model_fields))
    for name in {"amount", "captured_amount", "refundable_amount"} & fields.keys():
        fields[name] = to_major(fields[name], row.currency)
    return entry.model_validate(fields | ({"next_action": None} if entry is HistoryPayment else {}))


# --- parameters ---


def _moment(text: object) -> datetime:
    """RFC 3339 with a zone, in UTC; a bare number is no time here."""
    try:
        moment = datetime.fromisoformat(str(text))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("time", "a time with its zone, such as 2026-11-20T00:00:00Z", {"code": "time_invalid"})


Moment = Annotated[datetime, BeforeValidator(_moment)]
Since = Annotated[Moment | None, Query(description="from this moment on", examples=["2026-01-01T00:00:00Z"])]
Until = Annotated[Moment | None, Query(description="before this moment", examples=["2099-01-01T00:00:00Z"])]


def _known(words: Collection[str], code: str) -> BeforeValidator:
    """One of the words; any other is refused with this code."""

    def check(text: object) -> object:
        if text not in words:
            raise PydanticCustomError("word", "one of {words}", {"code": code, "words": ", ".join(words)})
        return text

    return BeforeValidator(check)


_STATUSES = tuple(dict.fromkeys(status for of_type in STATUSES.values() for status in of_type))

Types = Annotated[
    tuple[Annotated[EntryType, _known(tuple(EntryType), "type_unknown")], ...],
    Query(alias="type", description="may be repeated; all types if it is left out"),
]
AnyStatus = Annotated[str, _known(_STATUSES, "status_unknown"), Field(json_schema_extra={"enum": list(_STATUSES)})]
Statuses = Annotated[
    tuple[AnyStatus, ...],
    Query(
        alias="status",
        description="of a payment order, refund, dispute or payout; may be repeated. An entry of a type that does not "
        "know the status is left out",
    ),
]


@router.get(
    "/transactions/{user_id}", response_model=HistoryList, responses=READ_PROBLEMS, summary="What a buyer or seller did"
)
async def list_transactions(
    user_id: Annotated[str, Path(description="your own id of the buyer, or the seller_account", examples=["buyer_1"])],
    who: PaymentsReader,
    runtime: RuntimeOf,
    role: Role = "buyer",
    types: Types = (),
    statuses: Statuses = (),
    since: Since = None,
    until: Until = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """Payment orders, refunds, disputes and payouts, newest first; `object` says which an entry is. Somebody
    without any is an empty list.

    A buyer sees every refund of their payments, also those that undo a charge. A seller sees their share of refunds
    and disputes, one entry for each order of theirs, from the moment at which funds were set aside; and their payouts.
    A merchant's key or token asks for its own, with `role=seller`.
    """
    position = decode("history", cursor)
    if not is_client_id(user_id):
        return json_answer(HistoryList(data=[], next_cursor=None))
    rows = await history.page(
        runtime.reports,
        caller(who),
        user_id,
        role=role,
        filters=Filters(types, statuses, since, until),
        before=int(position) if position else None,
        limit=limit + 1,
    )
    following = encode("history", rows[limit - 1].seq) if len(rows) > limit else None
    return json_answer(HistoryList(data=[history_out(row) for row in rows[:limit]], next_cursor=following))
