"""What a card says about itself: checks, risk, country and fingerprint, also of a name that nobody has used yet."""

from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Psp


@pytest.mark.parametrize("spelling", ["pm_card_", "tok_"])
@pytest.mark.parametrize(
    ("name", "line1", "postal_code", "cvc", "risk"),
    [
        ("visa", None, None, "pass", "normal"),
        ("avsFail", "fail", "fail", "pass", "normal"),
        ("avsLine1Fail", "fail", "pass", "pass", "normal"),
        ("avsZipFail", "pass", "fail", "pass", "normal"),
        ("avsUnchecked", "unavailable", "unavailable", "pass", "normal"),
        ("cvcCheckFail", None, None, "fail", "normal"),
        ("riskLevelElevated", None, None, "pass", "elevated"),
    ],
)
async def test_checks_and_risk(
    psp: "Psp", spelling: str, name: str, line1: str | None, postal_code: str | None, cvc: str, risk: str
) -> None:
    params: Any = {"amount": 500, "currency": "usd", "confirm": True, "payment_method_types": ["card"]}
    if spelling == "tok_":
        params["payment_method_data"] = {"type": "card", "card": {"token": f"tok_{name}"}}
    else:
        params["payment_method"] = f"pm_card_{name}"
    intent = await psp.v1.payment_intents.create_async(params | {"expand": ["latest_charge"]})
    charge: Any = intent.latest_charge
    checks = charge.payment_method_details.card.checks
    assert (checks.address_line1_check, checks.address_postal_code_check, checks.cvc_check) == (line1, postal_code, cvc)
    assert (charge.outcome.risk_level, charge.outcome.risk_score >= 65) == (risk, risk == "elevated")


async def test_an_address_that_comes_along_is_checked(psp: "Psp") -> None:
    billing = {"address": {"line1": "1 High Street", "postal_code": "AB1 2CD"}}
    for token, line1 in (("tok_gb", "pass"), ("tok_avsLine1Fail", "fail")):
        params: Any = {"type": "card", "card": {"token": token}, "billing_details": billing}
        method: Any = await psp.v1.payment_methods.create_async(params)
        assert (method.card.checks.address_line1_check, method.card.checks.address_postal_code_check) == (line1, "pass")
        assert (method.billing_details.address.line1, method.billing_details.address.city) == ("1 High Street", None)


async def test_radar_blocks_the_highest_risk_unless_told_not_to(psp: "Psp") -> None:
    for name in ("riskLevelHighest", "radarBlock"):
        with pytest.raises(stripe.CardError) as caught:
            await psp.pay(f"pm_card_{name}")
        assert caught.value.error.decline_code == "fraudulent"  # type: ignore[union-attr]
    charge = (await psp.v1.charges.list_async()).data[0]
    assert charge.outcome
    assert (charge.outcome.type, charge.outcome.reason) == ("blocked", "highest_risk_level")
    assert (charge.outcome.risk_level, charge.outcome.risk_score) == ("highest", 90)
    await psp.control("PATCH", "/account", {"block_highest_risk": False})
    paid = await psp.pay("pm_card_riskLevelHighest")
    assert (paid.status, paid.latest_charge.outcome.risk_level) == ("succeeded", "highest")  # type: ignore[union-attr]
    with pytest.raises(stripe.CardError):
        await psp.pay("pm_card_radarBlock")


async def test_a_test_name_is_described_without_being_used_up(psp: "Psp") -> None:
    for _ in range(2):
        method: Any = await psp.v1.payment_methods.retrieve_async("pm_card_gb_mine")
        token: Any = await psp.v1.tokens.retrieve_async("tok_gb_mine")
        for card in (method.card, token.card):
            assert (card.country, card.brand, card.funding, len(card.fingerprint)) == ("GB", "visa", "credit", 16)
        assert (method.id, token.id, token.used) == ("pm_card_gb_mine", "tok_gb_mine", False)
    plain: Any = await psp.v1.payment_methods.retrieve_async("pm_card_gb")
    assert plain.card.fingerprint == method.card.fingerprint == token.card.fingerprint
    paid = await psp.pay("pm_card_gb_mine")
    card = paid.latest_charge.payment_method_details.card  # type: ignore[union-attr]
    assert card
    assert (card.fingerprint, card.country) == (method.card.fingerprint, "GB")
    with pytest.raises(stripe.InvalidRequestError):
        await psp.pay("pm_card_gb_mine")
    # The token's name is another one than the payment method's.
    params: Any = {"type": "card", "card": {"token": "tok_gb_mine"}}
    await psp.v1.payment_methods.create_async(params)
    assert (await psp.v1.tokens.retrieve_async("tok_gb_mine")).used
    for name in ("pm_card_nobody", "pm_0123"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await psp.v1.payment_methods.retrieve_async(name)
        assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


async def test_a_fingerprint_is_one_cards_on_one_account(psp: "Psp") -> None:
    async def fingerprint(account: "Psp", name: str) -> str:
        method: Any = await account.v1.payment_methods.retrieve_async(f"pm_card_{name}")
        return str(method.card.fingerprint)

    found = {await fingerprint(psp, name) for name in ("visa", "us", "visa_a", "visa_b")}
    assert len(found) == 1
    # The same last four digits, but cards of three countries.
    assert len(found | {await fingerprint(psp, name) for name in ("fr", "sg", "jp")}) == 4
    assert await fingerprint(psp.stranger(), "visa") not in found
