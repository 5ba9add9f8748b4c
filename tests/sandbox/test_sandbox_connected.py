"""Connected accounts: created and magic ones, their own objects, and keys of their own."""

from typing import TYPE_CHECKING, Any

import pytest
import stripe

if TYPE_CHECKING:
    from tests.sandbox.conftest import Psp


async def test_an_account_is_created_and_found(psp: "Psp") -> None:
    params: Any = {
        "type": "express",
        "country": "DE",
        "email": "seller@example.com",
        "metadata": {"seller": "s_1"},
        "business_profile": {"name": "Shoes"},
        "capabilities": {"transfers": {"requested": True}},
        "settings": {"payouts": {"schedule": {"interval": "manual"}}},
    }
    account = await psp.v1.accounts.create_async(params)
    assert account.id.startswith("acct_")
    found = await psp.v1.accounts.retrieve_async(account.id)
    assert (found.country, found.email, found.payouts_enabled, found.created) == (
        "DE",
        "seller@example.com",
        True,
        account.created,
    )
    assert found.to_dict()["metadata"] == {"seller": "s_1"}
    assert found.to_dict()["business_profile"]["name"] == "Shoes"
    await psp.fund()
    assert (await psp.send(account.id)).destination == account.id
    assert (await psp.pay_out(account.id)).status == "pending"


async def test_a_magic_name_comes_into_being_on_first_use(psp: "Psp") -> None:
    first = await psp.v1.accounts.retrieve_async("acct_payoutRefused_7")
    assert (first.id, first.payouts_enabled) == ("acct_payoutRefused_7", False)
    await psp.control("POST", "/clock/advance", {"seconds": 100})
    assert (await psp.v1.accounts.retrieve_async(first.id)).created == first.created
    # Another platform may use the same name, and that is another account.
    other = psp.stranger()
    await psp.fund()
    await psp.send("acct_paysOut_same", 700)
    assert (await other.v1.balance.retrieve_async({}, {"stripe_account": "acct_paysOut_same"})).available[0].amount == 0
    mine = await psp.v1.balance.retrieve_async({}, {"stripe_account": "acct_paysOut_same"})
    assert mine.available[0].amount == 700


async def test_unknown_accounts(psp: "Psp") -> None:
    for name in ("acct_nobody", "acct_paysOutside", "paysOut"):
        for attempt in (
            psp.v1.accounts.retrieve_async(name),
            psp.v1.balance.retrieve_async({}, {"stripe_account": name}),
        ):
            with pytest.raises(stripe.PermissionError) as caught:
                await attempt
            said: Any = caught.value.json_body
            assert (caught.value.http_status, said["error"]["code"]) == (403, "account_invalid")
        with pytest.raises(stripe.InvalidRequestError, match="No such destination") as refused:
            await psp.send(name)
        assert (refused.value.http_status, refused.value.code, refused.value.param) == (
            400,
            "resource_missing",
            "destination",
        )
    created = await psp.stranger().v1.accounts.create_async({"country": "US"})
    with pytest.raises(stripe.PermissionError):
        await psp.v1.accounts.retrieve_async(created.id)


async def test_the_platform_names_itself(psp: "Psp") -> None:
    own = (await psp.control("GET", "/account"))["id"]
    await psp.fund(5_000)
    assert (await psp.v1.balance.retrieve_async({}, {"stripe_account": own})).available[0].amount == 5_000


async def test_objects_belong_to_one_account(psp: "Psp") -> None:
    await psp.fund()
    await psp.send()
    payout = await psp.pay_out("acct_paysOut", 1_000)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await psp.v1.payouts.retrieve_async(payout.id)
    assert caught.value.http_status == 404
    found = await psp.v1.payouts.retrieve_async(payout.id, {}, {"stripe_account": "acct_paysOut"})
    assert found.id == payout.id
    lines = await psp.v1.balance_transactions.list_async({}, {"stripe_account": "acct_paysOut"})
    assert [(line.type, line.net, line.status) for line in lines.data] == [
        ("payout", -1_000, "available"),
        ("payment", 10_000, "available"),
    ]


async def test_keys_are_an_account_s_own(psp: "Psp") -> None:
    await psp.fund()
    for name in ("acct_paysOut_1", "acct_paysOut_2"):
        await psp.send(name)
    first, second = await psp.pay_out("acct_paysOut_1", key="k"), await psp.pay_out("acct_paysOut_2", key="k")
    assert first.id != second.id
    again = await psp.pay_out("acct_paysOut_1", key="k")
    assert again.id == first.id
    assert again.last_response
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert again.last_response.headers["stripe-account"] == "acct_paysOut_1"
    assert (await psp.pay_out(None, 500, key="k")).id not in (first.id, second.id)
    log = await psp.log()
    assert [entry["account"] for entry in log["payouts"]] == ["acct_paysOut_1", "acct_paysOut_2", None]


async def test_a_charge_of_a_connected_account(psp: "Psp") -> None:
    params: Any = {"amount": 900, "currency": "usd", "confirm": True, "payment_method": "pm_upi_processing"}
    params |= {"return_url": "https://shop.example/back"}
    intent = await psp.v1.payment_intents.create_async(params, {"stripe_account": "acct_paysOut"})
    await psp.control("POST", f"/payment_intents/{intent.id}/complete_processing")
    refund: Any = {"payment_intent": intent.id}
    await psp.v1.refunds.create_async(refund, {"stripe_account": "acct_paysOut"})
    log = await psp.log()
    assert (log["charges"][0]["amount"], log["refunds"][0]["status"]) == (900, "succeeded")
    assert {entry["account"] for entry in log["requests"]} == {"acct_paysOut"}
    assert (await psp.v1.balance.retrieve_async()).pending[0].amount == 0
