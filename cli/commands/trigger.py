"""`paysaga trigger`: an event by a real payment at the sandbox. What it needs is imported when it is called."""

import asyncio
from typing import Annotated

import typer

from cli.command_line import put, settings
from cli.nouns import as_json
from config.settings import DEVELOPMENT_API_KEY


def trigger(
    event: Annotated[
        str,
        typer.Argument(
            metavar="EVENT",
            help="payment.succeeded, payment.failed, payment.requires_action, payment.authorized or refund.succeeded",
        ),
    ],
    seller: Annotated[str, typer.Option(help="Whose order is paid.")] = "seller_anna",
    api_key: Annotated[
        str, typer.Option(help="Of the tenant that pays; left out: the development key.")
    ] = DEVELOPMENT_API_KEY,
) -> None:
    """Pay 500.00 INR at the sandbox so that this happens, as `paysaga listen` shows. Never at a real PSP."""
    from cli.pages.layout import whole
    from embedded.errors import StackError
    from embedded.ports import local_url
    from embedded.trigger import make
    from runtime.wiring import psp_accounts

    found = settings()
    if psp_accounts(found)["stripe"].base_url is None:
        raise StackError("The PSP here is a real one: events are triggered at the sandbox alone.")
    made = asyncio.run(make(local_url(found.api_host, found.api_port), event, seller=seller, api_key=api_key))
    if as_json():
        put({"object": "trigger", **made._asdict()})
    else:
        put(whole(f"{made.event}: {made.object_id} is {made.status}."))
