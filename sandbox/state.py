"""The running sandbox: its parts, wired once."""

from pathlib import Path
from typing import Any

from sandbox.accounts import Account, Accounts, AnyAccount
from sandbox.context import Context
from sandbox.faults import Registry
from sandbox.idempotency import Keys
from sandbox.store import Store
from sandbox.timers import Timers
from sandbox.webhooks import Courier


class Sandbox:
    """One database file and everything that works on it."""

    def __init__(self, data: Path, default_key: str, public_url: str = "") -> None:
        self.store = Store(data)
        self.accounts = Accounts(self.store)
        self.keys = Keys(self.store)
        self.faults = Registry()
        self.webhook_faults = Registry()
        self.courier = Courier(self.store, self.accounts, self.webhook_faults)
        self.timers = Timers(self.store, self.accounts, self.context)
        self.timers.after_fire = self.courier.wake
        self.default_account = self.accounts.of(default_key)
        self.public_url = public_url

    def context(self, account: AnyAccount, **request: Any) -> Context:
        """A unit of work for an account; `request` are the fields that a request adds."""
        return Context(self.store, account, self.courier.enqueue, **request)

    def context_of(self, account: Account, kind: str, object_id: str) -> Context:
        """A unit of work where the object is: in the account or in one connected to it; in the account if nowhere."""
        owner = self.store.owner(kind, object_id) or ""
        known = owner.partition("/")[0] == account.id
        return self.context(self.accounts.by_id(owner) if known else account, base_url=self.public_url)

    def wake(self) -> None:
        """Something was committed: look for new deliveries and timers."""
        self.courier.wake()
        self.timers.wake()
