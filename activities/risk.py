"""The risk check: the card's facts from the PSP, and the decision that is stored."""

from collections.abc import Mapping

from temporalio import activity

from activities.queues import Queue, on
from db import risk
from db.core.database import Database
from db.core.keyring import Keyring
from db.hot import read
from db.payment import payment
from db.payment.record import Payment
from domain.payment import AssessStep, RiskDecision
from domain.psp import CardFacts
from domain.risk import RuleSet, Stage
from gateways.protocol import Psp


class RiskActivities:
    """`look_timeout_s` bounds the question about the card: a check that cannot be made is decided by the rules too."""

    def __init__(self, database: Database, psps: Mapping[str, Psp], keyring: Keyring, *, look_timeout_s: float) -> None:
        self._database = database
        self._psps = psps
        self._keyring = keyring
        self._look_timeout_s = look_timeout_s

    @activity.defn
    @on(Queue.OWN)
    async def assess(self, step: AssessStep) -> RiskDecision:
        """Judge a payment once per stage; a second run finds what the first decided."""
        row = await read.payment(self._database, step.payment_id)
        assert row is not None, "a workflow starts after its payment's row is committed"
        expected = self._psps[row.psp].can_authorize(row.method)
        card = step.result.card if step.result else None
        if step.stage is Stage.BEFORE and expected:
            card = await self._card(row)
        return await self._database.run(lambda c: risk.decide(c, step, card, expected))

    async def _card(self, row: Payment) -> CardFacts | None:
        """The PSP's facts about the card, if a rule asks and nothing is decided yet. No transaction is open here."""
        rules = await self._database.read(lambda c: risk.rules(c, row.tenant_id, row.risk_version))
        assert rules is not None, "a payment's rule set is never deleted"
        rule_set: RuleSet = rules.rules
        if not rule_set.asks_card or await self._database.read(lambda c: risk.decided(c, row.id, Stage.BEFORE)):
            return None
        secrets = await self._database.read(lambda c: payment.secrets_of(c, row.id))
        plain = self._keyring.decrypt(secrets.token, bound_to=f"{row.id}:token")
        return await self._psps[row.psp].describe_card(plain, timeout_s=self._look_timeout_s)
