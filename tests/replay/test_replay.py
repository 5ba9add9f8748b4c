"""The replay gate: today's workflows against yesterday's histories. Those of the run itself are replayed at its end
(`tests/conftest.py`).

A step that was renamed, removed, added or moved breaks payments that are under way; it breaks here first. When a change
is meant (`workflows/patches.py`), the histories stay and new ones are added:
`PAYSAGA_RECORD_HISTORIES=tests/replay/histories make test`.
"""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory

from tests.support.histories import replayer

STORED = sorted((Path(__file__).parent / "histories").glob("*.json"))


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_stored_histories_replay(path: Path) -> None:
    history = WorkflowHistory.from_json(f"stored-{path.stem}", path.read_text())
    await replayer().replay_workflow(history)


def test_every_path_is_stored() -> None:
    """The gate is as good as its histories: these steps must be in one of them."""
    seen = {step for path in STORED for step in path.stem.split(".")}
    assert {
        "charge_once", "charge_until_known", "check_charge", "void_charge", "settle", "rest", "begin_compensation",
        "refund_until_known", "check_refund", "book_refund", "hold", "close", "await_confirmation",
        "close_unconfirmed", "request_cancel", "record_resolution", "begin_late_charge", "sweep_payments",
        "assess", "review_by_default", "release", "mark_capture", "capture_charge", "expire_authorization",
        "refund_once", "check_dispute", "book_dispute", "submit_evidence", "book_evidence", "warn_of_deadline",
        "sweep_disputes", "sweep_payouts", "sweep_reconciliations", "match_lines", "apply_fixes", "verify_fixes",
        "complete_reconciliation", "fail_reconciliation", "transfer_once", "transfer_until_known", "book_transfer",
        "pay_out_once", "pay_out_until_known", "book_payout", "look_at_payout", "check_payout", "cancel_payout",
        "reverse_transfer", "resolve_payout", "check_reference", "open_payout_run", "pay_due", "close_payout_run",
        "release_funds",
    } <= seen  # fmt: skip
