"""The seal of the ledger: the name of a chain's last block, and the values between its workflow and its activity."""

import re
from datetime import datetime
from typing import Self

from domain.model import Frozen

SEAL_WORKFLOW = "seal"

GENESIS = bytes(32)
"""What the first block has in the place of the hash of the one before."""

_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})", re.ASCII)


class Head(Frozen):
    """The last block of a chain, as `NO:HASH` with the hash in hexadecimal. Who keeps it elsewhere can tell later
    whether the chain was written anew."""

    no: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for anything but `NO:HASH`."""
        match = _HEAD.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError("the head of a seal is written as NO:HASH, with the 64 hexadecimal digits of the hash")
        return cls(no=int(match[1]), hash=match[2])

    def __str__(self) -> str:
        return f"{self.no}:{self.hash}"


class SealStep(Frozen):
    """The input of the sealing activity. `at`: the time that the new blocks bear."""

    at: datetime


class SealReport(Frozen):
    """The result of sealing. `head`: of the chain as it is now. `held_up`: database transactions that have been posting
    for so long that what came after them was left for the next time."""

    transactions: int = 0
    blocks: int = 0
    head: str | None = None
    held_up: int = 0
