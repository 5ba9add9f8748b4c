"""The mailbox of the embedded stack: what would have been sent lies in a folder, one file for each notification."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from domain.notification import Answer, ChannelName, Outgoing, Verdict

_KEPT = 200


class Mailbox:
    """A channel that writes files; the same notification again replaces its file."""

    def __init__(self, folder: Path, channel: ChannelName) -> None:
        self._folder, self._channel = folder, channel

    async def send(self, message: Outgoing, begun_before: datetime | None) -> Answer:  # noqa: ARG002
        try:
            await asyncio.to_thread(self._write, message)
        except OSError as error:
            return Answer(Verdict.FAILED, f"mailbox_{type(error).__name__}")
        return Answer(Verdict.SENT, provider_id=f"{message.id}.json")

    def _write(self, message: Outgoing) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shown = {
            "id": message.id,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "channel": self._channel,
            "from": message.sender_name,
            "to": message.to,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
        }
        new = self._folder / f"{message.id}.new"
        new.write_text(json.dumps(shown, ensure_ascii=False))
        new.replace(self._folder / f"{message.id}.json")
        for path in sorted(self._folder.glob("*.json"))[:-_KEPT]:
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing is open."""


def read(folder: Path) -> list[dict[str, str]]:
    """Read what is there, the newest first."""
    found = [json.loads(path.read_text()) for path in folder.glob("ntf_*.json")]
    return sorted(found, key=lambda one: (one["at"], one["id"]), reverse=True)
