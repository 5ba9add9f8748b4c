"""The PSPs that there is an adapter for, by the name that is stored with every payment. No other place lists them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from domain.reconciliation.lines import PspLine
from gateways.protocol import Psp, PspAccount
from gateways.settlement_file import Reading
from gateways.stripe.gateway import open_stripe
from gateways.stripe.report_file import read_itemized


@dataclass(frozen=True)
class Adapter:
    """`open`: the adapter of our account there. `read_settlement_file`: the movements in its file, in the file's order;
    raises SettlementFileError. How its times are read, and remarks about it, are in the `Reading`."""

    open: Callable[[str, PspAccount], Psp]
    read_settlement_file: Callable[[BinaryIO, Reading], Iterator[PspLine]]


ADAPTERS: dict[str, Adapter] = {
    "stripe": Adapter(open=open_stripe, read_settlement_file=read_itemized),
}


def open_psp(name: str, account: PspAccount) -> Psp:
    """The PSP of this name, for one event loop. Raises KeyError for one without an adapter."""
    return ADAPTERS[name].open(name, account)
