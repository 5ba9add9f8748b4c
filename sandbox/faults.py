"""Faults: what a test has asked the provider to do wrong, and who it happens to."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sandbox.errors import Doc
from sandbox.store import new_id

Kind = Literal[
    "latency", "timeout_before", "timeout_after", "http_500", "http_500_uncached", "http_500_after", "http_503",
    "rate_limit", "cut_before", "cut_after", "broken_body", "wrong_amount", "wrong_currency", "unknown_status",
    "hold_before", "hold_after",
]  # fmt: skip
WebhookKind = Literal["lost", "late", "doubled", "out_of_order", "bad_signature"]


class Match(BaseModel):
    """Whom a fault is for: all given conditions must hold."""

    model_config = ConfigDict(extra="forbid")

    metadata: dict[str, str] = {}
    id: str | None = None

    def matches(self, ids: Callable[[], set[str]], metadata: Callable[[], Doc]) -> bool:
        """True if the subject has one of these ids and this metadata."""
        if self.id and self.id not in ids():
            return False
        return not self.metadata or self.metadata.items() <= metadata().items()


class Spec(BaseModel):
    """The common part of both kinds of fault. `times` null means until deleted."""

    model_config = ConfigDict(extra="forbid")

    times: int | None = Field(1, ge=1)
    delay_s: float | None = Field(None, ge=0)
    match: Match = Match()


class FaultSpec(Spec):
    """A fault in the answering of requests."""

    operation: str = "*"
    kind: Kind
    # For the lies: how far off the amount is, which currency or status is claimed, and whether the object itself
    # becomes wrong (`persist`) or only the answer. Left out: true for wrong_amount and wrong_currency.
    delta: int = 1
    currency: str | None = None
    status: str = "requires_clairvoyance"
    persist: bool = True

    @model_validator(mode="after")
    def _check(self) -> "FaultSpec":
        if self.kind == "latency" and self.delay_s is None:
            raise ValueError("a latency needs delay_s")
        return self


class WebhookFaultSpec(Spec):
    """A fault in the delivery of events."""

    event_type: str = "*"
    kind: WebhookKind
    copies: int = Field(2, ge=2, le=100)


class Fault:
    """A fault at work. `claimed` counts the requests it was given to, `hits` those in which it took effect."""

    def __init__(self, spec: Any) -> None:
        self.id = new_id("fault")
        self.spec = spec
        self.claimed = self.hits = 0
        self.deleted = False
        self._holds: set[asyncio.Event] = set()
        self._changed = asyncio.Event()

    @property
    def active(self) -> bool:
        """True while another request can still get it."""
        return not self.deleted and (self.spec.times is None or self.claimed < self.spec.times)

    def view(self) -> Doc:
        """The fault as the control API shows it."""
        state: Doc = {"id": self.id, "active": self.active, "hits": self.hits, "waiting": len(self._holds)}
        described: Doc = self.spec.model_dump(mode="json")
        return state | described

    def hit(self) -> None:
        """It takes effect now: whoever long-polls for that is woken."""
        self.hits += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def until_hits(self, hits: int, timeout_s: float) -> bool:
        """Wait until it has taken effect so often; False when that took too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.hits < hits:
                    await self._changed.wait()
        return self.hits >= hits

    async def hold(self) -> None:
        """Block until released, deleted, or `delay_s` is over."""
        opened = asyncio.Event()
        self._holds.add(opened)
        self.hit()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.spec.delay_s):
                    await opened.wait()
        finally:
            self._holds.discard(opened)

    def release(self) -> int:
        """Let go everything that waits right now; later requests hold again while the fault is active."""
        for opened in self._holds:
            opened.set()
        return len(self._holds)

    def delete(self) -> None:
        """No request gets it any more, and nothing waits for it."""
        self.deleted = True
        self.release()


class Registry:
    """The faults of all accounts, oldest first. In memory: a restarted provider is a healthy one."""

    def __init__(self) -> None:
        self._faults: dict[str, dict[str, Fault]] = {}

    def add(self, account_id: str, spec: FaultSpec | WebhookFaultSpec) -> Fault:
        """Put a fault to work."""
        fault = Fault(spec)
        self._faults.setdefault(account_id, {})[fault.id] = fault
        return fault

    def of(self, account_id: str) -> list[Fault]:
        """All faults of an account, used-up ones too."""
        return list(self._faults.get(account_id, {}).values())

    def get(self, account_id: str, fault_id: str) -> Fault | None:
        """One fault of an account."""
        return self._faults.get(account_id, {}).get(fault_id)

    def delete(self, account_id: str, fault_id: str | None = None) -> int:
        """Remove one fault, or all of an account; how many there were."""
        faults = self._faults.get(account_id, {})
        chosen = [fault for fault in faults.values() if fault_id in (None, fault.id)]
        for fault in chosen:
            fault.delete()
            del faults[fault.id]
        return len(chosen)

    def claim(
        self,
        account_id: str,
        subject: str,
        ids: Callable[[], set[str]],
        metadata: Callable[[], Doc],
        *,
        replayed: bool = False,
    ) -> Fault | None:
        """The first active fault for this operation or event type, taken for one use."""
        for fault in self._faults.get(account_id, {}).values():
            pattern = getattr(fault.spec, "operation", None) or fault.spec.event_type
            if not fault.active or not fnmatchcase(subject, pattern):
                continue
            if (replayed and _needs_execution(fault.spec)) or not fault.spec.match.matches(ids, metadata):
                continue
            fault.claimed += 1
            return fault
        return None


def _needs_execution(spec: FaultSpec) -> bool:
    """Faults that change what is executed or stored cannot happen to a request that is only replayed."""
    if spec.kind in ("wrong_amount", "wrong_currency"):
        return spec.persist
    return spec.kind in ("http_500", "http_500_after")
