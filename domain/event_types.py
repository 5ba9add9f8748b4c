"""The catalogue of events: every type in every version, and their names on the way out (CloudEvents 1.0)."""

from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from domain import event_data as data
from domain.model import Frozen
from domain.status import DisputeStatus, MerchantStatus, PayoutStatus, RefundStatus, Status

SPEC_VERSION = "1.0"
PREFIX = "com.paysaga."
"""Of the type that a consumer sees: `com.paysaga.payment.succeeded.v1`."""

SCHEMAS = "urn:paysaga:event:"
"""Of the names of schemas: `urn:paysaga:event:payment.succeeded:1`."""

_PAYMENT_VERBS = {Status.SUCCESS: "succeeded"}


def payment_event_type(status: Status) -> str:
    """The type of a payment's own event: `payment.succeeded`, `payment.failed`, `payment.requires_action` …"""
    return f"payment.{_PAYMENT_VERBS.get(status, status.value.lower())}"


class EventType(NamedTuple):
    """One version of a type: its name (`payment.succeeded`), its model, and what has happened."""

    name: str
    version: int
    model: type[Frozen]
    description: str

    @property
    def cloud_type(self) -> str:
        """The type that a CloudEvent has."""
        return f"{PREFIX}{self.name}.v{self.version}"

    @property
    def dataschema(self) -> str:
        """The schema's own name; `GET /v1/event-types` has what it names."""
        return f"{SCHEMAS}{self.name}:{self.version}"

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the event's data."""
        return {"$id": self.dataschema, **self.model.model_json_schema(mode="serialization")}


def _by_status(noun: str, statuses: type[StrEnum], model: type[Frozen]) -> dict[str, EventType]:
    title = noun.replace("_", " ").capitalize()
    verbs = [(status.value.lower(), f"{title} became {status}.") for status in statuses]
    return {f"{noun}.{verb}": EventType(f"{noun}.{verb}", 1, model, text) for verb, text in verbs}


def _of(noun: str, model: type[Frozen], **verbs: str) -> dict[str, EventType]:
    return {f"{noun}.{verb}": EventType(f"{noun}.{verb}", 1, model, text) for verb, text in verbs.items()}


_MOVED = tuple(status for status in Status if status is not Status.NOT_STARTED)


@cache
def event_types() -> dict[tuple[str, int], EventType]:
    """By type and version."""
    found = {
        **_of("payment", data.PaymentData, created="A checkout was stored, with its orders."),
        **{
            payment_event_type(status): EventType(
                payment_event_type(status), 1, data.PaymentData, f"The payment became {status}."
            )
            for status in _MOVED
        },
        **_of("payment_order", data.OrderData, created="An order was stored with its payment."),
        **{
            name: one
            for name, one in _by_status("payment_order", Status, data.OrderData).items()
            if name != "payment_order.not_started"
        },
        **_by_status("refund", RefundStatus, data.RefundData),
        **_by_status("dispute", DisputeStatus, data.DisputeData),
        **_by_status("payout", PayoutStatus, data.PayoutData),
        **_of(
            "reconciliation",
            data.ReconciliationData,
            started="A run was stored, and its lines are being copied.",
            matching="All lines are here and are being matched.",
            completed="All lines are matched.",
            failed="The run could not be carried out; nothing was judged.",
        ),
        **_of(
            "discrepancy",
            data.DiscrepancyData,
            opened="A break was found.",
            overdue="A break is open past its deadline.",
            resolved="A break was matched, fixed or settled by a person.",
        ),
        **_of("merchant", data.MerchantData, created="A seller was made.", changed="A seller's terms were changed."),
        **_by_status("merchant", MerchantStatus, data.MerchantData),
        **_of(
            "review",
            data.ReviewData,
            requested="The risk rules want a person to decide about a payment.",
            decided="A person, or the default at the deadline, has decided.",
        ),
        **_of(
            "webhook_endpoint",
            data.EndpointData,
            disabled="Nothing is sent to an endpoint any more, since it does not take it.",
        ),
        **_of("ledger", data.LedgerData, sealed="A block of the ledger was sealed; each event has a part of it."),
        **_of("task", data.TaskData, opened="A person is asked something.", closed="It was answered."),
    }
    return {(one.name, one.version): one for one in found.values()}
