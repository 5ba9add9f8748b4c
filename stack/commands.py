"""The commands for finance and operators. What one of them needs is imported when it is called."""

import asyncio
import getpass
import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from config.settings import Settings
from domain.payment import Decision, Resolution
from domain.status import Status

payments = typer.Typer(help="See and steer payments.", no_args_is_help=True)
keys = typer.Typer(help="API keys of tenants.", no_args_is_help=True)

PaymentName = Annotated[
    str, typer.Argument(metavar="ID", help="pay_…, po_…, or the client's payment_order_id or checkout_id.")
]
By = Annotated[str, typer.Option("--by", help="Your name, for the audit log.")]
ByOrLogin = Annotated[str | None, typer.Option("--by", help="Your name, for the audit log; left out: your login.")]


def register(app: typer.Typer) -> None:
    """Put the commands of this file on `paysaga`."""
    app.command()(audit)
    app.command()(demo)
    app.add_typer(payments, name="payments")
    app.command()(tasks)
    app.add_typer(keys, name="keys")
    app.command()(sweep)


def _console() -> Console:
    """As wide as the terminal; a file or a pipe gets lines that no id has to be folded for."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _settings() -> Settings:
    """Of the stack that runs here, unless the environment names another one."""
    if "PAYSAGA_DATABASE_URL" in os.environ:
        return Settings()
    from stack.running import adopt_running_stack

    return adopt_running_stack()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def audit(as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Check the money invariants; exit code 1 on any violation."""
    from stack.audit import run_audit_command

    if not asyncio.run(run_audit_command(_settings(), _console(), as_json=as_json)):
        raise typer.Exit(1)


def demo(
    attach: Annotated[bool, typer.Option(help="Use the stack that runs here instead of one of its own.")] = False,
) -> None:
    """Tell a story of checkouts, each with its outcome and its ledger; exit code 1 if one ends otherwise."""
    from stack.demo import run_demo

    try:
        as_told = asyncio.run(run_demo(_console(), attach=_settings() if attach else None))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    if not as_told:
        raise typer.Exit(1)


# --- payments ---


@payments.command("show")
def payments_show(name: PaymentName) -> None:
    """Explain a payment: why it is where it is, what the PSP said, what is booked."""
    from stack.operator import database_of, find_payment
    from stack.operator_pages import payment_page

    async def show() -> None:
        settings = _settings()
        async with database_of(settings) as database:
            row = await find_payment(database, name)
            _console().print(await payment_page(settings, database, row))

    asyncio.run(show())


@payments.command("list")
def payments_list(
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="Only those with this status.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """Payments, newest first."""
    from stack.operator import database_of
    from stack.operator_pages import payments_page

    async def show() -> None:
        async with database_of(_settings()) as database:
            page = await payments_page(database, status=status and status.value, tenant=tenant, limit=limit)
            _console().print(page)

    asyncio.run(show())


@payments.command("nudge")
def payments_nudge(name: PaymentName) -> None:
    """Have the PSP asked now instead of at the next look."""
    from stack.operator import nudge_payment, services_of

    async def nudge() -> str:
        async with services_of(_settings()) as services:
            return await nudge_payment(services, name)

    _console().print(asyncio.run(nudge()), markup=False)


@payments.command("cancel")
def payments_cancel(name: PaymentName, by: By) -> None:
    """Cancel a payment that has not settled; what was charged is refunded."""
    from stack.operator import cancel_payment, services_of

    async def cancel() -> str:
        async with services_of(_settings()) as services:
            return await cancel_payment(services, name, by)

    _console().print(asyncio.run(cancel()), markup=False)


@payments.command("resolve")
def payments_resolve(
    name: PaymentName,
    decision: Annotated[
        Decision,
        typer.Option(
            help="retry: ask the PSP again, or refund again. not_charged: no money moved, I looked. "
            "cancel: refund whatever was taken. reference: --reference is the PSP's object."
        ),
    ],
    by: By,
    note: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    reference: Annotated[str | None, typer.Option(help="The PSP's object, pi_…, for the decision reference.")] = None,
) -> None:
    """Decide about a payment that NEEDS_ATTENTION."""
    from stack.operator import resolve_payment, services_of

    resolution = Resolution(decision=decision, by=by, note=note, reference=reference)

    async def resolve() -> str:
        async with services_of(_settings()) as services:
            return await resolve_payment(services, name, resolution)

    _console().print(asyncio.run(resolve()), markup=False)


def tasks() -> None:
    """What waits for a person."""
    from stack.operator import database_of
    from stack.operator_pages import tasks_page

    async def show() -> None:
        async with database_of(_settings()) as database:
            _console().print(await tasks_page(database))

    asyncio.run(show())


# --- API keys ---


@keys.command("create")
def keys_create(
    tenant: Annotated[str, typer.Option(help="Whose key; a new name is a new tenant.")],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="Repeat for several; left out: all.")] = None,
    by: ByOrLogin = None,
) -> None:
    """Make an API key and print its secret, once."""
    from stack.operator import create_key, database_of

    async def create() -> tuple[str, str]:
        async with database_of(_settings()) as database:
            return await create_key(database, tenant, name, frozenset(scope or ()), by or _login())

    key_id, secret = asyncio.run(create())
    console = _console()
    console.print(f"{key_id} for {tenant}. Its secret is shown now and never again:", markup=False)
    console.print(secret, style="bold green", markup=False, soft_wrap=True)


@keys.command("revoke")
def keys_revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="key_…")], by: ByOrLogin = None) -> None:
    """Take an API key back."""
    from stack.operator import database_of, revoke_key

    async def revoke() -> str:
        async with database_of(_settings()) as database:
            return await revoke_key(database, key_id, by or _login())

    _console().print(asyncio.run(revoke()), markup=False)


@keys.command("list")
def keys_list() -> None:
    """All API keys, without their secrets."""
    from stack.operator import database_of
    from stack.operator_pages import keys_page

    async def show() -> None:
        async with database_of(_settings()) as database:
            _console().print(await keys_page(database))

    asyncio.run(show())


def sweep() -> None:
    """Look now for payments without a workflow and for webhooks that nobody has read."""
    from stack.operator import services_of, sweep_now

    async def run() -> str:
        async with services_of(_settings()) as services:
            return await sweep_now(services)

    _console().print(asyncio.run(run()), markup=False)
