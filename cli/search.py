"""The filters of lists of payments and refunds, as options of a command."""

from datetime import datetime
from typing import Annotated

import typer

from cli.commands.ledger import moment

Seller = Annotated[str | None, typer.Option(help="Only those of this seller.")]
Buyer = Annotated[str | None, typer.Option(help="Only those of this buyer.")]
Currency = Annotated[str | None, typer.Option(help="Only those in this currency: INR")]
Amount = Annotated[str | None, typer.Option(help="Only those of exactly this amount: 500.00; needs --currency.")]
Reference = Annotated[
    str | None, typer.Option(help="The PSP's own id, or the client's checkout_id or payment_order_id.")
]
Since = Annotated[datetime | None, typer.Option(parser=moment, metavar="TIME", help="From this moment on.")]
Until = Annotated[datetime | None, typer.Option(parser=moment, metavar="TIME", help="Before this moment.")]
Before = Annotated[str | None, typer.Option(metavar="ID", help="The page after the one that ended with this id.")]
