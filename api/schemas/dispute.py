"""Dispute: TODO docstring."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.schemas.fields import In, Out
from api.schemas.payment import FailureOut
from domain.psp import EVIDENCE_FIELDS, LONG_EVIDENCE
from domain.status import DisputeStatus

EVIDENCE_SHORT_MAX = 5_000
EvidenceText = Annotated[str, Field(min_length=1, max_length=20_000)]


class EvidenceIn(In):
    """What speaks for the seller; it is submitted to the buyer's bank once, so all of it at once."""

    fields: dict[Literal[EVIDENCE_FIELDS], EvidenceText] = Field(  # type: ignore[valid-type]
        min_length=1, examples=[{"product_description": "A doll.", "shipping_tracking_number": "1Z999"}]
    )

    @model_validator(mode="after")
    def _short_enough(self) -> "EvidenceIn":
        for name, text in self.fields.items():
            if name not in LONG_EVIDENCE and len(text) > EVIDENCE_SHORT_MAX:
                raise PydanticCustomError(
                    "evidence",
                    "{name} takes at most {limit} characters.",
                    {"code": "field_invalid", "name": name, "limit": EVIDENCE_SHORT_MAX},
                )
        return self


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
    reference: str
    created_at: datetime
    closed_at: datetime | None


class DisputeDetail(DisputeOut):
    evidence: list[EvidenceOut]


class DisputeList(Out):
    object: Literal["list"] = "list"
    data: list[DisputeOut]
    next_cursor: str | None
