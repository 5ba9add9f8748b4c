"""The shapes of disputes, and of the evidence against them, over HTTP."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.fields import FailureOut, In, Out, failure_out
from db.dispute.record import Dispute, Evidence
from domain.money import to_major
from domain.status import DisputeStatus
from services.dispute import EvidenceFields


class EvidenceIn(In):
    """Evidence for the seller; it is submitted to the buyer's bank once, so all of it at once."""

    fields: EvidenceFields = Field(examples=[{"product_description": "A doll.", "shipping_tracking_number": "1Z999"}])


class EvidenceOut(Out):
    id: str
    object: Literal["dispute_evidence"] = "dispute_evidence"
    fields: list[str] = Field(description="names alone: what they say is stored encrypted")
    status: Literal["STORED", "SUBMITTED", "REFUSED"]
    failure: FailureOut | None
    created_at: datetime
    submitted_at: datetime | None


class DisputeOut(Out):
    id: str = Field(examples=["dp_01kafm6e8q9v7s2c4n0b8k6h3j"])
    object: Literal["dispute"] = "dispute"
    payment_id: str
    amount: str
    currency: str
    category: str | None = Field(description="why, in the bank's word", examples=["fraudulent"])
    status: DisputeStatus
    evidence_due_at: datetime | None
    fee: str = Field(description="what the PSP charges for it")
    reference: str = Field(description="the PSP's own id of it")
    created_at: datetime
    closed_at: datetime | None


class DisputeDetail(DisputeOut):
    evidence: list[EvidenceOut]


class DisputeList(Out):
    object: Literal["list"] = "list"
    data: list[DisputeOut]
    next_cursor: str | None


def dispute_out(row: Dispute) -> DisputeOut:
    """A dispute in a list."""
    return DisputeOut(**_dispute(row))


def dispute_detail(row: Dispute, pieces: Sequence[Evidence]) -> DisputeDetail:
    return DisputeDetail(**_dispute(row), evidence=[_evidence(piece) for piece in pieces])


def _dispute(row: Dispute) -> dict[str, Any]:
    return {
        "id": row.id,
        "payment_id": row.payment_id,
        "amount": to_major(row.amount, row.currency),
        "currency": row.currency,
        "category": row.category,
        "status": row.status,
        "evidence_due_at": row.evidence_due_at,
        "fee": to_major(row.fee, row.currency),
        "reference": row.reference,
        "created_at": row.created_at,
        "closed_at": row.closed_at,
    }


def _evidence(piece: Evidence) -> EvidenceOut:
    return EvidenceOut(
        id=piece.id,
        fields=list(piece.field_names),
        status=piece.status,
        failure=failure_out(piece.failure),
        created_at=piece.created_at,
        submitted_at=piece.submitted_at,
    )
