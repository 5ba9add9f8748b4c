"""The commands about webhooks: what the PSP sends where."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.command_line import By, steer
from cli.nouns import Noun

if TYPE_CHECKING:
    from cli.pages.page import Page
    from runtime.wiring import Runtime

webhooks = Noun(no_args_is_help=True)


@webhooks.command("check")
def webhooks_check(
    url: Annotated[str | None, typer.Option(help="Only the endpoints at this address; left out: all of ours.")] = None,
) -> None:
    """Compare what the PSP sends with what changes something here; exit code 1 if something is not sent."""
    from cli.pages.endpoint import checked
    from cli.refusals import refusals
    from services import endpoint

    missing = False

    async def work(runtime: "Runtime") -> "Page":
        nonlocal missing
        with refusals("webhooks"):
            found = await endpoint.check(runtime, url)
        missing = any(subscription.missing for subscription in found)
        return checked(found)

    steer(work)
    if missing:
        raise typer.Exit(1)


@webhooks.command("setup")
def webhooks_setup(
    url: Annotated[str, typer.Option(help="Where the PSP reaches the API: https://<host>/webhooks/stripe")], by: By
) -> None:
    """Have the PSP send what changes something here, and nothing else. Prints the secret of a new endpoint, once."""
    from cli.connection import person
    from cli.pages.endpoint import set_up
    from cli.refusals import refusals
    from services import endpoint

    async def work(runtime: "Runtime") -> "Page":
        with refusals("webhooks"):
            return set_up(await endpoint.set_up(runtime, person(by), url))

    steer(work)
