"""Risk: TODO docstring."""

from typing import Any

from api.schemas.risk import ReviewOut, RiskDecisionOut
from domain.money import to_major


def risk_out(row: dict[str, Any]) -> RiskDecisionOut:
    return RiskDecisionOut(
        rules_version=row["version"], **{n: row[n] for n in RiskDecisionOut.model_fields if n in row}
    )


def review_out(row: dict[str, Any]) -> ReviewOut:
    return ReviewOut(
        payment_id=row["payment_id"],
        amount=to_major(row["amount"], row["currency"]),
        currency=row["currency"],
        stage=row["stage"],
        reasons=row["reasons"],
        deadline_at=row["deadline_at"],
    )
