"""Operator dispute: TODO docstring."""

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from cli.refusals import refusals
from db import lookup as operator
from db.core.database import Database
from db.dispute import dispute
from db.dispute.dispute import NewEvidence
from db.dispute.record import Dispute
from db.payment import payment
from domain.card_data import require_text
from domain.errors import Unavailable
from domain.ids import new_id
from domain.psp import EVIDENCE_FIELDS
from embedded.errors import StackError
from runtime.wiring import Runtime

_EVIDENCE_LENGTH_MAX = 20_000


# --- disputes ---


async def find_dispute(database: Database, name: str) -> Dispute:
    found = await database.read(lambda c: operator.find_dispute(c, name)) if name.isprintable() else None
    if found is None:
        raise StackError(f"There is no dispute {name}: `paysaga disputes list` shows them.")
    return found


async def submit_evidence(runtime: Runtime, dispute_id: str, fields: Sequence[str], by: str) -> str:
    """Store it encrypted, and have the dispute's workflow submit it: the bank takes it once."""
    row = await find_dispute(runtime.database, dispute_id)
    texts = _evidence(fields)
    evidence_id = new_id("dpe")
    plain = json.dumps(texts, ensure_ascii=False)
    sealed = runtime.keyring.encrypt(plain, bound_to=f"{evidence_id}:fields")
    new = NewEvidence(evidence_id, sealed, sorted(texts), by)
    with refusals(row.id):
        await runtime.database.run(lambda c: dispute.store_evidence(c, row.id, new, datetime.now(UTC)))
    owner = await runtime.database.read(lambda c: payment.get(c, row.payment_id))
    assert owner is not None, "a dispute has a payment"
    with contextlib.suppress(Unavailable):  # it is stored: the workflow finds it at its next look
        await runtime.workflow_client.start_dispute(owner, row.id)
    return f"{row.id} was {row.status}: {evidence_id} ({', '.join(sorted(texts))}) is being submitted."


def _evidence(fields: Sequence[str]) -> dict[str, str]:
    """`name=text`, each once. Raises StackError."""
    texts: dict[str, str] = {}
    for field in fields:
        name, _, text = field.partition("=")
        if name not in EVIDENCE_FIELDS:
            raise StackError(f"There is no field {name!r}. There are: {', '.join(EVIDENCE_FIELDS)}.")
        if name in texts or not 1 <= len(text) <= _EVIDENCE_LENGTH_MAX:
            raise StackError(f"Say each field once, with 1 to {_EVIDENCE_LENGTH_MAX} characters: --field {name}=text")
        with refusals(name):
            require_text(text)
        texts[name] = text
    return texts
