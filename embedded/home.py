"""The data folder of one stack (`PAYSAGA_HOME`): its layout, its lock, and the files that say who runs there."""

import base64
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embedded.errors import StackError
from embedded.processes import ProcessRecord

_FREE_BYTES_MIN = 512 * 1024 * 1024
_LOG_BYTES_MAX = 20 * 1024 * 1024


class Home:
    """Paths below the data folder, and the small files in `run/` and `secrets/`."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self.secrets = self.path / "secrets"
        self.postgres_data = self.path / "postgres"
        self.temporal_database = self.path / "temporal.sqlite"
        self.sandbox_database = self.path / "sandbox.sqlite"
        self.broker_data = self.path / "nats"
        self.mailbox = self.path / "mailbox"

    # --- the folder itself ---

    def prepare(self) -> None:
        """Create the folders; raises StackError where they cannot be written or the disk is full."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self.logs, self.run, self.secrets):
                folder.mkdir(exist_ok=True, mode=0o700)
            probe = self.run / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
            free_bytes = shutil.disk_usage(self.path).free
        except OSError as error:
            raise StackError(
                f"The data folder {self.path} cannot be written ({error.strerror or error}): "
                "choose another one with PAYSAGA_HOME."
            ) from error
        if free_bytes < _FREE_BYTES_MIN:
            raise StackError(
                f"The disk of {self.path} has only {free_bytes // 1024**2} MB left and the stack needs "
                f"{_FREE_BYTES_MIN // 1024**2} MB: free some space, or choose another folder with PAYSAGA_HOME."
            )

    def log(self, name: str) -> Path:
        """The log file of a child."""
        return self.logs / f"{name}.log"

    def rotate_log(self, name: str) -> None:
        """Keep one older log beside the present one, so that a laptop's disk does not fill up over the months."""
        path = self.log(name)
        if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))

    # --- one stack at a time ---

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the kernel lets go of it even when we are killed."""
        path = self.run / "lock"
        with path.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                owner = lock.read().strip() or "unknown"
                raise StackError(
                    f"A stack (pid {owner}) already runs in {self.path}: use that one, stop it, "
                    "or choose another folder with PAYSAGA_HOME."
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    # --- the children, for whoever comes after us ---

    def write_children(self, records: Sequence[ProcessRecord]) -> None:
        """Write down the living children, in the order in which they were started."""
        self._write("children.json", [asdict(record) for record in records])

    def read_children(self) -> list[ProcessRecord]:
        """The children written down last; an unreadable file counts as none."""
        rows = self._read("children.json")
        try:
            return [ProcessRecord(**row) for row in rows] if isinstance(rows, list) else []
        except TypeError:
            return []

    # --- the running stack, for the other commands ---

    def write_stack(self, environment: Mapping[str, str]) -> None:
        """Publish the settings of the stack that is up; they hold secrets, so only the owner can read them."""
        owner = ProcessRecord.of("stack", os.getpid())
        self._write("stack.json", {"supervisor": asdict(owner), "environment": dict(environment)})

    def read_stack(self) -> tuple[ProcessRecord, dict[str, str]] | None:
        """The supervisor and the settings of the stack that runs here now, if one does."""
        content = self._read("stack.json")
        try:
            owner = ProcessRecord(**content["supervisor"])
            environment = {str(key): str(value) for key, value in content["environment"].items()}
        except (TypeError, KeyError, AttributeError):
            return None
        return (owner, environment) if owner.is_alive() else None

    def forget_stack(self) -> None:
        """The stack is about to stop: commands should no longer find it (nor do they once its supervisor is gone)."""
        with suppress(OSError):
            (self.run / "stack.json").unlink()

    # --- secrets ---

    def encryption_keys(self) -> str:
        """The key that stored tokens are encrypted with, created once; `k1:` and 32 bytes in base64."""
        path = self.secrets / "encryption_keys"
        if not path.exists():
            key = base64.b64encode(secrets.token_bytes(32)).decode()
            _write_private(path, f"k1:{key}\n")
        return path.read_text().strip()

    def broker_password(self) -> str:
        """The password of the embedded broker's user, created once."""
        path = self.secrets / "broker_password"
        if not path.exists():
            _write_private(path, f"{secrets.token_hex(16)}\n")
        return path.read_text().strip()

    def write_private(self, name: str, text: str) -> Path:
        """A file in `run/` that its owner alone can read."""
        _write_private(self.run / name, text)
        return self.run / name

    def _write(self, name: str, content: object) -> None:
        _write_private(self.run / name, json.dumps(content, indent=2) + "\n")

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.run / name).read_text())
        except (OSError, ValueError):
            return None


def _write_private(path: Path, text: str) -> None:
    """Replace a file in one step, so that nobody reads half of it; mode 600 from its first byte."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
