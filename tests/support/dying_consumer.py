"""The consumer of examples/, killed after its own commit and before the broker hears of it."""

import os
import signal
from collections.abc import AsyncGenerator

from examples.consumer import consumer
from examples.consumer.consumer import Batch, Source

_read = Source.batches


async def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def _batches(self: Source) -> AsyncGenerator[Batch, None]:
    async for batch in _read(self):
        yield Batch(batch.bodies, _die if batch.bodies else batch.done)


if __name__ == "__main__":
    Source.batches = _batches  # type: ignore[method-assign]
    consumer.main()
