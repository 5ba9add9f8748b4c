"""A payment from outside: HTTP in; status, ledger, wallet and the PSP's own log out."""

from tests.support.shop import Shop

FEE_KEPT = {("psp_fees", "INR"): 1480, ("psp_clearing:stripe", "INR"): -1480}
"""What is left of an undone charge of 500.00: the PSP keeps 2.9 % + 0.30."""


async def test_a_card_is_charged_credited_and_posted(shop: Shop) -> None:
    checkout = shop.checkout()
    answer = await shop.pay(checkout)
    assert answer.status_code == 201
    payment = answer.json()
    assert (payment["status"], payment["is_payment_done"], payment["amount"]) == ("SUCCESS", True, "500.00")
    order = payment["payment_orders"][0]
    assert (order["status"], order["wallet_updated"], order["ledger_updated"]) == ("SUCCESS", True, True)
    assert await shop.balances() == {
        ("psp_clearing:stripe", "INR"): 50000 - 1480,
        ("wallet:anna:pending", "INR"): -48500,
        ("platform_fees", "INR"): -1500,
        ("psp_fees", "INR"): 1480,
    }
    wallet = (await shop.get("/v1/wallets/anna")).json()
    assert wallet["balances"] == [
        {"currency": "INR", "pending": "485.00", "available": "0.00", "reserved": "0.00"}
    ]
    log = await shop.paysaga.sandbox.log(checkout)
    assert log.charged == [50000]
    assert log.sent("payment_intents.create") == 1
