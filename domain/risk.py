"""Risk rules as data, as a shop writes them down, and the pure function from rules and facts to a decision.

Before the charge (`Stage.BEFORE`) the amount, how often and where from are known, and of the card what the PSP tells of
its token; on the PSP's answer to an authorisation (`Stage.AFTER`) also the issuer's checks and the PSP's own score.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, model_validator

from domain.model import Failure, Frozen
from domain.money import exponent, parse_major, to_major
from domain.psp import CardChecks, CardFacts

# Whoever pays is not told which rule it was.
BLOCKED = Failure(code="risk_blocked", message="The payment was not accepted.")
REJECTED = Failure(code="risk_rejected", message="The payment was not accepted after a review.")


class Verdict(StrEnum):
    """The outcome of an assessment."""

    ALLOW = "allow"
    REVIEW = "review"
    """Wait for a person."""
    BLOCK = "block"


class Stage(StrEnum):
    """The moment of an assessment, by what is known then."""

    BEFORE = "before_charge"
    AFTER = "after_authorization"


class ReviewDecision(StrEnum):
    """A reviewer's decision, or that of the deadline."""

    APPROVE = "approve"
    REJECT = "reject"


Party = Literal["buyer", "card", "merchant"]


def _known_currency(code: str) -> str:
    exponent(code)  # raises MoneyError, a ValueError
    return code


Country = Annotated[str, Field(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["IN"])]
CurrencyCode = Annotated[str, AfterValidator(_known_currency), Field(examples=["INR"])]
MajorAmount = Annotated[str, Field(description="decimal string in major units", examples=["100000.00"], max_length=24)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=80, description="what the reason names", examples=["large amount"])
    then: Literal["review", "block"]


class AmountRule(_Rule):
    """The payment is larger than `above`, in this currency."""

    type: Literal["amount"]
    currency: CurrencyCode
    above: MajorAmount

    @model_validator(mode="after")
    def _readable(self) -> "AmountRule":
        parse_major(self.above, self.currency)
        return self


class VelocityRule(_Rule):
    """More than so many payments, or so much money in one currency, of the same buyer, card or merchant within a time;
    this payment counts, and so do those that were declined."""

    type: Literal["velocity"]
    of: Party
    within_s: StrictInt = Field(gt=0, le=31 * 86_400)
    count_above: StrictInt | None = Field(default=None, ge=0)
    amount_above: MajorAmount | None = None
    currency: CurrencyCode | None = Field(default=None, description="of `amount_above`")

    @model_validator(mode="after")
    def _limited(self) -> "VelocityRule":
        if (self.count_above is None) == (self.amount_above is None):
            raise ValueError("exactly one of count_above and amount_above")
        if (self.amount_above is None) != (self.currency is None):
            raise ValueError("amount_above and currency belong together")
        if self.amount_above is not None and self.currency is not None:
            parse_major(self.amount_above, self.currency)
        return self

    def is_above(self, seen: "Velocity") -> bool:
        """Whether it is more than the rule allows."""
        if self.amount_above is None or self.currency is None:
            return seen.count > (self.count_above or 0)
        return seen.amount > parse_major(self.amount_above, self.currency)


class CountryRule(_Rule):
    """The buyer, the card or a merchant is from one of these countries."""

    type: Literal["country"]
    of: Party
    countries: tuple[Country, ...] = Field(min_length=1)


class CountryMismatchRule(_Rule):
    """Two of them are known to be from different countries."""

    type: Literal["country_mismatch"]
    between: tuple[Party, Party]


class CurrencyMismatchRule(_Rule):
    """The payment is in a currency that one does not expect of that country; countries that are not listed are not
    judged."""

    type: Literal["currency_mismatch"]
    of: Party
    expected: dict[Country, tuple[CurrencyCode, ...]] = Field(min_length=1, examples=[{"IN": ["INR"]}])


class CheckRule(_Rule):
    """The issuer's check of the address (AVS) or the security code (CVC) came out so."""

    type: Literal["check"]
    of: Literal["address_line", "postal_code", "cvc"]
    results: tuple[Literal["fail", "unavailable", "unchecked"], ...] = ("fail",)


class ScoreRule(_Rule):
    """The PSP's own risk score, 0 to 100, is this or more."""

    type: Literal["psp_risk_score"]
    at_least: StrictInt = Field(ge=0, le=100)


Rule = Annotated[
    AmountRule | VelocityRule | CountryRule | CountryMismatchRule | CurrencyMismatchRule | CheckRule | ScoreRule,
    Field(discriminator="type"),
]
_AFTER = (CheckRule, ScoreRule)


class RuleSet(BaseModel):
    """A shop's rules. A `review` that nobody decides until its deadline ends as `on_deadline` says; a check that cannot
    be made (the PSP does not tell of the card) allows payments up to `unavailable_allow_up_to`, and asks a person else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...] = Field(default=(), max_length=100)
    review_deadline_s: StrictInt = Field(default=86_400, ge=1, le=30 * 86_400)
    on_deadline: ReviewDecision = ReviewDecision.REJECT
    unavailable_allow_up_to: dict[CurrencyCode, MajorAmount] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _readable(self) -> "RuleSet":
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError("two rules have the same name")
        for currency, amount in self.unavailable_allow_up_to.items():
            parse_major(amount, currency)
        return self

    def of(self, stage: Stage) -> tuple[Rule, ...]:
        """The rules that are judged at this stage."""
        return tuple(rule for rule in self.rules if isinstance(rule, _AFTER) is (stage is Stage.AFTER))

    @property
    def asks_card(self) -> bool:
        """True if a rule before the charge has to know the card."""
        return any(_parties(rule) & {"card"} for rule in self.of(Stage.BEFORE))


def _parties(rule: Rule) -> set[str]:
    if isinstance(rule, CountryMismatchRule):
        return set(rule.between)
    return {rule.of} if isinstance(rule, (VelocityRule, CountryRule, CurrencyMismatchRule)) else set()


class Velocity(Frozen):
    """The payments within a rule's time, this one included; `amount` in minor units of the rule's currency. Where a
    thousand or more pass the rule's limit, not all of them are counted."""

    count: int
    amount: int = 0


class RiskFacts(Frozen):
    """The facts that a decision is made of. `velocity`: by the rule's name, where it could be counted. `card` is None
    where it is not known: with `card_expected` because nobody answered, else because the method has no card."""

    amount: int
    currency: str
    buyer_country: str | None = None
    merchant_countries: tuple[str, ...] = ()
    card_expected: bool = False
    card: CardFacts | None = None
    checks: CardChecks | None = None
    velocity: dict[str, Velocity] = Field(default_factory=dict)


class Assessment(Frozen):
    """The verdict, and each reason for it in a sentence."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def assess(rules: RuleSet, stage: Stage, facts: RiskFacts) -> Assessment:
    """The strictest verdict of the rules that apply; `allow` without a reason where none does."""
    verdicts: list[Verdict] = []
    reasons: list[str] = []
    for rule in rules.of(stage):
        if _unknown(rule, facts):
            if not _small(rules, facts):
                verdicts.append(Verdict.REVIEW)
                reasons.append(f"{rule.name}: the card could not be checked")
            continue
        why = _applies(rule, facts)
        if why is not None:
            verdicts.append(Verdict(rule.then))
            reasons.append(f"{rule.name}: {why}")
    verdict = Verdict.BLOCK if Verdict.BLOCK in verdicts else Verdict.REVIEW if verdicts else Verdict.ALLOW
    return Assessment(verdict=verdict, reasons=tuple(reasons))


def _unknown(rule: Rule, facts: RiskFacts) -> bool:
    """True if the rule asks for what the PSP should have told, and did not."""
    if isinstance(rule, _AFTER):
        return facts.checks is None
    return "card" in _parties(rule) and facts.card_expected and facts.card is None


def _small(rules: RuleSet, facts: RiskFacts) -> bool:
    limit = rules.unavailable_allow_up_to.get(facts.currency)
    return limit is not None and facts.amount <= parse_major(limit, facts.currency)


def _applies(rule: Rule, facts: RiskFacts) -> str | None:
    """The reason why the rule applies; None where it does not, also for want of a fact that nobody gave."""
    match rule:
        case AmountRule():
            over = facts.currency == rule.currency and facts.amount > parse_major(rule.above, rule.currency)
            return f"{_money(facts)} is above {rule.above} {rule.currency}" if over else None
        case VelocityRule():
            return _too_often(rule, facts)
        case CountryRule():
            found = [c for c in _countries(rule.of, facts) if c in rule.countries]
            return f"the {rule.of} is from {found[0]}" if found else None
        case CountryMismatchRule():
            one, other = rule.between
            pairs = [(a, b) for a in _countries(one, facts) for b in _countries(other, facts) if a != b]
            return f"the {one} is from {pairs[0][0]}, the {other} from {pairs[0][1]}" if pairs else None
        case CurrencyMismatchRule():
            odd = [
                c for c in _countries(rule.of, facts) if facts.currency not in rule.expected.get(c, (facts.currency,))
            ]
            return f"{facts.currency} is not expected of a {rule.of} from {odd[0]}" if odd else None
        case CheckRule():
            result = getattr(facts.checks, rule.of) if facts.checks else None
            return f"the {rule.of} check says {result}" if result in rule.results else None
        case ScoreRule():
            score = facts.checks.risk_score if facts.checks else None
            return f"the PSP's risk score is {score}" if score is not None and score >= rule.at_least else None


def _too_often(rule: VelocityRule, facts: RiskFacts) -> str | None:
    seen = facts.velocity.get(rule.name)
    if seen is None or not rule.is_above(seen):
        return None
    if rule.count_above is not None or rule.currency is None:
        return f"{seen.count} payments of the {rule.of} within {rule.within_s} s"
    return f"{to_major(seen.amount, rule.currency)} {rule.currency} of the {rule.of} within {rule.within_s} s"


def _countries(party: Party, facts: RiskFacts) -> tuple[str, ...]:
    if party == "merchant":
        return facts.merchant_countries
    country = facts.buyer_country if party == "buyer" else facts.card.country if facts.card else None
    return (country,) if country else ()


def _money(facts: RiskFacts) -> str:
    return f"{to_major(facts.amount, facts.currency)} {facts.currency}"
