"""`/v1/merchants`: the sellers. `/v1/wallets`: what we owe them."""

from typing import Annotated

from fastapi import Body, Path, Response

from api.access import LedgerReader, MerchantsReader, MerchantsWriter, caller
from api.context import RuntimeOf, json_answer
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.examples import MERCHANT, MERCHANT_CHANGE
from api.merchant.shapes import (
    MerchantIn,
    MerchantList,
    MerchantOut,
    MerchantPatch,
    WalletOut,
    merchant_out,
    wallet_out,
)
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.routing import Router
from api.strict import StrictRoute
from db.ledger import wallet
from db.payout import release
from services import merchant as merchants

router = Router(prefix="/v1", tags=["merchants"], route_class=StrictRoute)

SellerAccount = Annotated[
    str, Path(description="your own id of the seller, or ours, `mer_…`", examples=["seller_anna"])
]


@router.post(
    "/merchants", response_model=MerchantOut, status_code=201, responses=WRITE_PROBLEMS, summary="Add a seller"
)
async def create_merchant(
    body: Annotated[MerchantIn, Body(openapi_examples=MERCHANT)], who: MerchantsWriter, runtime: RuntimeOf
) -> Response:
    """Before its first order. A second one of the same name is 409 `merchant_exists`."""
    return json_answer(merchant_out(await merchants.create(runtime.database, caller(who), body.new)), 201)


@router.patch(
    "/merchants/{seller_account}",
    response_model=MerchantOut,
    responses=WRITE_PROBLEMS,
    summary="Change, freeze or close",
)
async def change_merchant(
    seller_account: SellerAccount,
    body: Annotated[MerchantPatch, Body(openapi_examples=MERCHANT_CHANGE)],
    who: MerchantsWriter,
    runtime: RuntimeOf,
) -> Response:
    """FROZEN or CLOSED: new orders, confirmations and captures are refused, an order that is charged already is
    refunded instead of credited, and an authorisation is voided; refunds and disputes go on. ACTIVE unfreezes; CLOSED
    is for ever, and refunds are then made from what is left in the wallet alone. New fees replace the old ones, both
    parts, and hold for new orders; the other terms hold from now on."""
    changed = await merchants.change(runtime.database, caller(who), seller_account, body.terms)
    return json_answer(merchant_out(changed.after))


@router.get("/merchants/{seller_account}", response_model=MerchantOut, responses=READ_PROBLEMS, summary="Show a seller")
async def show_merchant(seller_account: SellerAccount, who: MerchantsReader, runtime: RuntimeOf) -> Response:
    """The seller's state and terms, by your own id of it or ours."""
    return json_answer(merchant_out(await merchants.find(runtime.database, caller(who), seller_account)))


@router.get("/merchants", response_model=MerchantList, responses=READ_PROBLEMS, summary="List the sellers")
async def list_merchants(
    who: MerchantsReader,
    runtime: RuntimeOf,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """In the order in which they were added."""
    after = decode("merchant", cursor)
    rows = await merchants.page(runtime.database, caller(who), after=after, limit=limit + 1)
    following = encode("merchant", rows[limit - 1].id) if len(rows) > limit else None
    return json_answer(MerchantList(data=[merchant_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/wallets/{seller_account}", response_model=WalletOut, responses=READ_PROBLEMS, summary="What we owe a seller"
)
async def show_wallet(seller_account: SellerAccount, who: LedgerReader, runtime: RuntimeOf) -> Response:
    """Per currency: `pending` is not yet released, `available` can be paid out, `reserved` is held for a refund;
    `available_on` says by day when what is pending can be paid out."""
    row = await merchants.find(runtime.database, caller(who), seller_account)
    tenant_id, seller = row.tenant_id, row.seller_account
    zone = runtime.settings.business_zone
    balances = await runtime.database.read(lambda c: wallet.of_seller(c, tenant_id, seller))
    days = await runtime.database.read(lambda c: release.pending_by_day(c, tenant_id, seller, zone))
    return json_answer(wallet_out(seller, balances, days))
