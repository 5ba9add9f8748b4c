"""Risk rules: what each fires on, what it says, and which sets of rules are none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.psp import CardChecks, CardFacts
from domain.risk import Assessment, RiskFacts, Rule, RuleSet, Stage, Velocity, Verdict, assess

STRICTNESS = (Verdict.ALLOW, Verdict.REVIEW, Verdict.BLOCK)
AFTER = ("check", "psp_risk_score")


def rule(type_: str, then: str = "review", **fields: Any) -> dict[str, Any]:
    return {"name": f"the {type_}", "type": type_, "then": then} | fields


def rule_set(*rules: dict[str, Any], **terms: Any) -> RuleSet:
    return RuleSet.model_validate({"rules": list(rules)} | terms)


def facts(**known: Any) -> RiskFacts:
    return RiskFacts.model_validate({"amount": 50000, "currency": "INR"} | known)


def judged(one: dict[str, Any], known: RiskFacts) -> Assessment:
    stage = Stage.AFTER if one["type"] in AFTER else Stage.BEFORE
    return assess(rule_set(one), stage, known)


AMOUNT = rule("amount", currency="INR", above="500.00")
COUNT = rule("velocity", of="card", within_s=60, count_above=3)
TURNOVER = rule("velocity", of="buyer", within_s=60, amount_above="1000.00", currency="INR")
COUNTRY = rule("country", of="buyer", countries=["KP", "IR"])
OF_CARD = rule("country", of="card", countries=["KP"])
OF_MERCHANT = rule("country", of="merchant", countries=["KP"])
MISMATCH = rule("country_mismatch", between=["buyer", "card"])
WITH_MERCHANT = rule("country_mismatch", between=["merchant", "buyer"])
CURRENCY = rule("currency_mismatch", of="buyer", expected={"IN": ["INR"], "DE": ["EUR", "USD"]})
CVC = rule("check", of="cvc")
POSTAL = rule("check", of="postal_code", results=["unavailable", "unchecked"])
SCORE = rule("psp_risk_score", at_least=75)


def seen(one: dict[str, Any], count: int, amount: int = 0) -> dict[str, Velocity]:
    return {one["name"]: Velocity(count=count, amount=amount)}


FIRES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (AMOUNT, {"amount": 50001}, "500.01 INR is above 500.00 INR"),
    (COUNT, {"velocity": seen(COUNT, 4), "card": CardFacts()}, "4 payments of the card within 60 s"),
    (TURNOVER, {"velocity": seen(TURNOVER, 1, 100001)}, "1000.01 INR of the buyer within 60 s"),
    (COUNTRY, {"buyer_country": "IR"}, "the buyer is from IR"),
    (OF_CARD, {"card": CardFacts(country="KP")}, "the card is from KP"),
    (OF_MERCHANT, {"merchant_countries": ("IN", "KP")}, "the merchant is from KP"),
    (MISMATCH, {"buyer_country": "IN", "card": CardFacts(country="US")}, "the buyer is from IN, the card from US"),
    (
        WITH_MERCHANT,
        {"merchant_countries": ("IN", "US"), "buyer_country": "IN"},
        "the merchant is from US, the buyer from IN",
    ),
    (CURRENCY, {"buyer_country": "DE"}, "INR is not expected of a buyer from DE"),
    (CVC, {"checks": CardChecks(cvc="fail")}, "the cvc check says fail"),
    (POSTAL, {"checks": CardChecks(postal_code="unchecked")}, "the postal_code check says unchecked"),
    (SCORE, {"checks": CardChecks(risk_score=75)}, "the PSP's risk score is 75"),
    (rule("psp_risk_score", at_least=0), {"checks": CardChecks(risk_score=0)}, "the PSP's risk score is 0"),
]


@pytest.mark.parametrize("then", ["review", "block"])
@pytest.mark.parametrize(("one", "known", "why"), FIRES)
def test_a_rule_fires_and_says_why_in_facts(one: dict[str, Any], known: dict[str, Any], why: str, then: str) -> None:
    assessment = judged(one | {"then": then}, facts(**known))
    assert assessment == Assessment(verdict=Verdict(then), reasons=(f"{one['name']}: {why}",))


@pytest.mark.parametrize(
    ("one", "known"),
    [
        (AMOUNT, {"amount": 50000}),
        (AMOUNT, {"amount": 10**9, "currency": "USD"}),
        (rule("amount", currency="JPY", above="500"), {"amount": 500, "currency": "JPY"}),
        (COUNT, {"velocity": seen(COUNT, 3), "card": CardFacts()}),
        (TURNOVER, {"velocity": seen(TURNOVER, 99, 100000)}),
        (COUNTRY, {"buyer_country": "IN"}),
        (COUNTRY, {"card": CardFacts(country="IR"), "merchant_countries": ("IR",)}),
        (OF_CARD, {"card": CardFacts(country="IN"), "buyer_country": "KP"}),
        (OF_MERCHANT, {"merchant_countries": ("IN", "US")}),
        (MISMATCH, {"buyer_country": "IN", "card": CardFacts(country="IN")}),
        (WITH_MERCHANT, {"buyer_country": "IN", "merchant_countries": ("IN",)}),
        (CURRENCY, {"buyer_country": "IN"}),
        (CURRENCY, {"buyer_country": "DE", "currency": "USD"}),
        (CURRENCY, {"buyer_country": "FR"}),
        (CVC, {"checks": CardChecks(cvc="pass")}),
        (CVC, {"checks": CardChecks(cvc="unavailable")}),
        (CVC, {"checks": CardChecks(cvc="pass", address_line="fail", postal_code="fail")}),
        (SCORE, {"checks": CardChecks(risk_score=74)}),
    ],
)
def test_a_rule_does_not_fire_on_what_is_just_fine(one: dict[str, Any], known: dict[str, Any]) -> None:
    assert judged(one, facts(**known)) == Assessment(verdict=Verdict.ALLOW)


ALL = [COUNT, TURNOVER, COUNTRY, OF_CARD, OF_MERCHANT, MISMATCH, WITH_MERCHANT, CURRENCY, CVC, POSTAL, SCORE]


@pytest.mark.parametrize("one", ALL)
@pytest.mark.parametrize(
    "known", [{}, {"card": CardFacts()}, {"checks": CardChecks()}, {"velocity": {"another": Velocity(count=99)}}]
)
def test_a_fact_that_nobody_gave_fires_nothing(one: dict[str, Any], known: dict[str, Any]) -> None:
    known = {"checks": CardChecks()} | known
    assert judged(one, facts(**known)) == Assessment(verdict=Verdict.ALLOW)


@pytest.mark.parametrize("one", [CVC, POSTAL, SCORE])
def test_an_answer_without_any_checks_is_for_a_person_unless_it_is_small(one: dict[str, Any]) -> None:
    assert judged(one, facts(checks=None)) == Assessment(
        verdict=Verdict.REVIEW, reasons=(f"{one['name']}: the card could not be checked",)
    )
    small = rule_set(one).model_copy(update={"unavailable_allow_up_to": {"INR": "99999.00"}})
    assert assess(small, Stage.AFTER, facts(checks=None)).verdict is Verdict.ALLOW


def test_a_mismatch_needs_both_countries() -> None:
    assert judged(MISMATCH, facts(buyer_country="IN")).verdict is Verdict.ALLOW
    assert judged(MISMATCH, facts(card=CardFacts(country="US"))).verdict is Verdict.ALLOW


# --- the card that could not be looked at ---

OF_THE_CARD = [
    COUNT,
    OF_CARD,
    MISMATCH,
    rule("currency_mismatch", of="card", expected={"IN": ["INR"]}),
    rule("country_mismatch", between=["card", "merchant"]),
]


@pytest.mark.parametrize("one", OF_THE_CARD)
@pytest.mark.parametrize("then", ["review", "block"])
def test_a_card_that_should_be_known_and_is_not_asks_a_person(one: dict[str, Any], then: str) -> None:
    """A review even where the rule would block: nothing is known against this card."""
    assessment = judged(one | {"then": then}, facts(card_expected=True))
    assert assessment == Assessment(verdict=Verdict.REVIEW, reasons=(f"{one['name']}: the card could not be checked",))


@pytest.mark.parametrize("one", [AMOUNT, TURNOVER, COUNTRY, OF_MERCHANT, WITH_MERCHANT, CURRENCY])
def test_rules_about_something_else_do_not_mind_an_unknown_card(one: dict[str, Any]) -> None:
    assert judged(one, facts(card_expected=True)).verdict is Verdict.ALLOW


@pytest.mark.parametrize("one", OF_THE_CARD)
def test_a_method_without_a_card_is_not_judged_by_it(one: dict[str, Any]) -> None:
    assert judged(one, facts(card_expected=False)).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("amount", "currency", "verdict"),
    [
        (500000, "INR", "allow"),
        (500001, "INR", "review"),
        (1, "USD", "review"),  # no limit was given for it
        (100, "JPY", "allow"),
        (101, "JPY", "review"),
    ],
)
def test_small_payments_go_on_when_the_card_cannot_be_checked(amount: int, currency: str, verdict: str) -> None:
    rules = rule_set(OF_CARD, unavailable_allow_up_to={"INR": "5000.00", "JPY": "100"})
    known = facts(amount=amount, currency=currency, card_expected=True)
    assert assess(rules, Stage.BEFORE, known).verdict == verdict


def test_a_limit_for_unknown_cards_lets_nothing_through_that_is_known() -> None:
    rules = rule_set(OF_CARD | {"then": "block"}, unavailable_allow_up_to={"INR": "5000.00"})
    known = facts(card_expected=True, card=CardFacts(country="KP"))
    assert assess(rules, Stage.BEFORE, known).verdict is Verdict.BLOCK


def test_the_card_is_asked_for_only_where_a_rule_before_the_charge_names_it() -> None:
    assert all(rule_set(one).asks_card for one in OF_THE_CARD)
    assert not rule_set(AMOUNT, TURNOVER, COUNTRY, WITH_MERCHANT, CVC, SCORE).asks_card
    assert not rule_set().asks_card


# --- several rules ---


def test_the_strictest_verdict_wins_and_every_reason_is_given() -> None:
    rules = rule_set(AMOUNT, COUNTRY | {"then": "block"}, CURRENCY)
    assessment = assess(rules, Stage.BEFORE, facts(amount=60000, buyer_country="KP"))
    assert assessment.verdict is Verdict.BLOCK
    assert assessment.reasons == (
        "the amount: 600.00 INR is above 500.00 INR",
        "the country: the buyer is from KP",
    )


def test_each_rule_is_judged_at_its_stage_alone() -> None:
    rules = rule_set(AMOUNT, SCORE | {"then": "block"})
    known = facts(amount=60000, checks=CardChecks(risk_score=99))
    assert assess(rules, Stage.BEFORE, known).verdict is Verdict.REVIEW
    assert assess(rules, Stage.AFTER, known).verdict is Verdict.BLOCK
    assert {one.name for stage in Stage for one in rules.of(stage)} == {"the amount", "the psp_risk_score"}


def test_no_rules_allow_everything() -> None:
    for stage in Stage:
        assert assess(rule_set(), stage, facts(card_expected=True)) == Assessment(verdict=Verdict.ALLOW)


countries = st.sampled_from(["IN", "US", "KP"])
parties = st.sampled_from(["buyer", "card", "merchant"])
kinds = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("amount"), "currency": st.just("INR"), "above": st.sampled_from(["0", "5.00", "500.00"])}
    ),
    st.fixed_dictionaries(
        {"type": st.just("velocity"), "of": parties, "within_s": st.just(60), "count_above": st.integers(0, 3)}
    ),
    st.fixed_dictionaries({"type": st.just("country"), "of": parties, "countries": st.lists(countries, min_size=1)}),
    st.fixed_dictionaries({"type": st.just("country_mismatch"), "between": st.tuples(parties, parties)}),
    st.fixed_dictionaries(
        {
            "type": st.just("currency_mismatch"),
            "of": parties,
            "expected": st.dictionaries(countries, st.just(["USD"]), min_size=1),
        }
    ),
    st.fixed_dictionaries({"type": st.just("check"), "of": st.sampled_from(["cvc", "postal_code"])}),
    st.fixed_dictionaries({"type": st.just("psp_risk_score"), "at_least": st.integers(0, 100)}),
)
rules_of_any_kind = st.lists(st.tuples(kinds, st.sampled_from(["review", "block"])), max_size=6).map(
    lambda found: [{"name": f"r{n}", "then": then} | kind for n, (kind, then) in enumerate(found)]
)
any_facts = st.builds(
    RiskFacts,
    amount=st.integers(1, 10**7),
    currency=st.sampled_from(["INR", "USD"]),
    buyer_country=st.none() | countries,
    merchant_countries=st.lists(countries, max_size=2).map(tuple),
    card_expected=st.booleans(),
    card=st.none() | st.builds(CardFacts, country=st.none() | countries),
    checks=st.none()
    | st.builds(
        CardChecks,
        cvc=st.sampled_from([None, "pass", "fail"]),
        postal_code=st.sampled_from([None, "fail"]),
        risk_score=st.none() | st.integers(0, 100),
    ),
    velocity=st.dictionaries(
        st.sampled_from([f"r{n}" for n in range(6)]), st.builds(Velocity, count=st.integers(0, 5))
    ),
)
stages = st.sampled_from(Stage)


@given(rules_of_any_kind, any_facts, stages)
def test_another_rule_never_makes_the_verdict_milder(
    rules: list[dict[str, Any]], known: RiskFacts, stage: Stage
) -> None:
    verdicts = [assess(rule_set(*rules[:n]), stage, known).verdict for n in range(len(rules) + 1)]
    assert verdicts == sorted(verdicts, key=STRICTNESS.index)
    assert verdicts[0] is Verdict.ALLOW


@given(rules_of_any_kind, any_facts, stages, st.randoms(use_true_random=False))
def test_the_order_of_the_rules_changes_the_order_of_the_reasons_alone(
    rules: list[dict[str, Any]], known: RiskFacts, stage: Stage, random: Any
) -> None:
    one = assess(rule_set(*rules), stage, known)
    shuffled = list(rules)
    random.shuffle(shuffled)
    other = assess(rule_set(*shuffled), stage, known)
    assert (one.verdict, sorted(one.reasons)) == (other.verdict, sorted(other.reasons))


@given(rules_of_any_kind, any_facts)
def test_a_verdict_has_reasons_and_a_block_dominates(rules: list[dict[str, Any]], known: RiskFacts) -> None:
    assessment = assess(rule_set(*rules), Stage.BEFORE, known)
    assert (assessment.verdict is Verdict.ALLOW) is (assessment.reasons == ())
    blocked = assess(rule_set(*rules, rule("amount", "block", currency=known.currency, above="0")), Stage.BEFORE, known)
    assert blocked.verdict is Verdict.BLOCK
    assert set(blocked.reasons) > set(assessment.reasons)


@given(rules_of_any_kind)
def test_a_rule_set_is_read_back_as_it_was_stored(rules: list[dict[str, Any]]) -> None:
    stored = rule_set(*rules).model_dump(mode="json")
    assert RuleSet.model_validate(stored) == rule_set(*rules)
    assert RuleSet.model_validate_json(rule_set(*rules).model_dump_json()) == rule_set(*rules)


# --- what is no rule set ---


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (rule("velocity", of="card", within_s=60), "exactly one of count_above and amount_above"),
        (
            rule("velocity", of="card", within_s=60, count_above=1, amount_above="1.00", currency="INR"),
            "exactly one of count_above and amount_above",
        ),
        (rule("velocity", of="card", within_s=60, amount_above="1.00"), "amount_above and currency belong together"),
        (
            rule("velocity", of="card", within_s=60, count_above=1, currency="INR"),
            "amount_above and currency belong together",
        ),
        (
            rule("velocity", of="card", within_s=60, amount_above="1.005", currency="INR"),
            "INR has 2 decimals, '1.005' has 3",
        ),
        (rule("velocity", of="card", within_s=0, count_above=1), "greater than 0"),
        (rule("velocity", of="card", within_s=32 * 86_400, count_above=1), "less than or equal to 2678400"),
        (rule("velocity", of="shop", within_s=60, count_above=1), "'buyer', 'card' or 'merchant'"),
        (rule("amount", currency="INR", above="many"), "decimal string in major units"),
        (rule("amount", currency="INR", above="-1"), "decimal string in major units"),
        (rule("amount", currency="JPY", above="1.5"), "JPY has 0 decimals"),
        (rule("amount", currency="INR", above="9999999999.00"), "above the largest amount"),
        (rule("amount", currency="XYZ", above="1"), "'XYZ' is not an ISO 4217 currency code"),
        (rule("amount", currency="inr", above="1"), "'inr' is not an ISO 4217 currency code"),
        (rule("amount", "allow", currency="INR", above="1"), "'review' or 'block'"),
        (rule("amount", currency="INR", above="1", extra=1), "Extra inputs are not permitted"),
        (rule("amount", currency="INR"), "Field required"),
        (rule("country", of="buyer", countries=[]), "at least 1 item"),
        (rule("country", of="buyer", countries=["India"]), "String should match pattern"),
        (rule("country_mismatch", between=["buyer"]), "Field required"),
        (rule("currency_mismatch", of="buyer", expected={}), "at least 1 item"),
        (rule("currency_mismatch", of="buyer", expected={"IN": ["XYZ"]}), "'XYZ' is not an ISO 4217 currency code"),
        (rule("check", of="name"), "'address_line', 'postal_code' or 'cvc'"),
        (rule("check", of="cvc", results=["pass"]), "'fail', 'unavailable' or 'unchecked'"),
        (rule("psp_risk_score", at_least=101), "less than or equal to 100"),
        (rule("horoscope", sign="leo"), "does not match any of the expected tags"),
        (AMOUNT | {"name": ""}, "at least 1 character"),
        (AMOUNT | {"name": "n" * 81}, "at most 80 characters"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_a_reason(one: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rule_set(one)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"rules": [AMOUNT, AMOUNT | {"above": "2.00"}]}, "two rules have the same name"),
        ({"rules": [AMOUNT | {"name": f"r{n}"} for n in range(101)]}, "at most 100 items"),
        ({"unavailable_allow_up_to": {"XYZ": "1"}}, "'XYZ' is not an ISO 4217 currency code"),
        ({"unavailable_allow_up_to": {"INR": "a lot"}}, "decimal string in major units"),
        ({"unavailable_allow_up_to": {"JPY": "1.50"}}, "JPY has 0 decimals"),
        ({"review_deadline_s": 0}, "greater than or equal to 1"),
        ({"review_deadline_s": 31 * 86_400}, "less than or equal to 2592000"),
        ({"on_deadline": "wait"}, "'approve' or 'reject'"),
        ({"rule": []}, "Extra inputs are not permitted"),
    ],
)
def test_a_rule_set_that_cannot_be_meant_is_refused_with_a_reason(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RuleSet.model_validate(terms)
    assert message in str(caught.value)


def test_every_kind_of_rule_is_tried_here() -> None:
    schema = TypeAdapter(Rule).json_schema()
    assert set(schema["discriminator"]["mapping"]) == {one["type"] for one, _, _ in FIRES}
