"""Dispute: TODO docstring."""

from collections.abc import Sequence
from typing import Any

from api.schemas.dispute import DisputeDetail, DisputeOut, EvidenceOut
from api.views.payment import failure_out
from db.dispute.record import Dispute
from domain.model import Failure
from domain.money import to_major


def dispute_out(row: Dispute) -> DisputeOut:
    return DisputeOut(**_dispute(row))


def dispute_detail(row: Dispute, evidence: Sequence[dict[str, Any]]) -> DisputeDetail:
    return DisputeDetail(**_dispute(row), evidence=[_evidence(piece) for piece in evidence])


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


def _evidence(row: dict[str, Any]) -> EvidenceOut:
    failure = Failure.model_validate(row["failure"]) if row["failure"] else None
    return EvidenceOut(
        id=row["id"],
        fields=row["field_names"],
        status=row["status"],
        failure=failure_out(failure),
        created_at=row["created_at"],
        submitted_at=row["submitted_at"],
    )
