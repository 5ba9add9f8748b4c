"""What the programs import, but none of them: `api`, `workers`, `sandbox` and `stack.cli` run anew in each process."""

import gc

import uvicorn.lifespan.on
import uvicorn.protocols.http.httptools_impl
import uvloop

import api.app
import sandbox.app
import stack.commands
import stack.operator_aftermath_pages
import stack.operator_ledger_pages
import stack.operator_pages
import stack.operator_payout_runs
import stack.operator_payouts_pages
import stack.operator_reconcile_pages
import tests.support.programs
import workers.schedules
import workers.worker

__all__ = ["api", "sandbox", "stack", "tests", "uvicorn", "uvloop", "workers"]

gc.freeze()  # or each child's collector would touch, and so copy, all of it
