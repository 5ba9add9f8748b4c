"""`python -m tests.support.notifier`: what a worker does about notifications, and nothing else, to be killed."""

import asyncio

from config.settings import Settings
from runtime.wiring import channels_of, open_runtime
from workers.notify import notifying


async def main() -> None:
    settings = Settings()
    channels = channels_of(settings)
    async with open_runtime(settings, application="notifier", lazy=True) as runtime, notifying(runtime, channels):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
