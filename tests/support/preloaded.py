"""What the programs import, but none of them: `api`, `workers`, `sandbox` and `cli.main` run anew in each process."""

import gc

import stripe
import uvicorn.lifespan.on
import uvicorn.protocols.http.httptools_impl
import uvloop

import api.processes
import cli.commands.payment
import cli.pages.ledger
import cli.pages.payment
import cli.pages.payment_list
import cli.pages.payout
import cli.pages.reconciliation
import cli.payout_run
import sandbox.app
import tests.support.programs
import workers.schedules
import workers.serve
import workers.worker

__all__ = ["api", "cli", "sandbox", "tests", "uvicorn", "uvloop", "workers"]

_ = stripe.StripeClient  # the library imports it when it is asked for

gc.freeze()  # or each child's collector would touch, and so copy, all of it
gc.set_threshold(700, 10, 10)  # as a program has it that is started by its command
