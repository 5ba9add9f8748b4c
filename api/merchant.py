"""`/v1/merchants`: the sellers. `/v1/wallets`: what we owe them."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response

from api.context import LedgerReader, MerchantsReader, MerchantsWriter, RuntimeOf
from api.cursor import LIMIT_DEFAULT, Cursor, Limit, decode, encode
from api.examples import MERCHANT, MERCHANT_CHANGE
from api.problems import READ_PROBLEMS, WRITE_PROBLEMS
from api.schemas.merchant import MerchantIn, MerchantList, MerchantOut, MerchantPatch, PayoutTermsIn, WalletOut
from api.strict import StrictRoute
from api.views.merchant import balance_out, merchant_out
from db import audit_log, merchant
from db.api_key import Principal
from db.ledger import wallet
from db.payout import release
from db.payout import schedule as payout_schedule
from domain.errors import NotFound
from domain.ids import CLIENT_ID
from runtime.wiring import Runtime

router = APIRouter(prefix="/v1", tags=["merchants"], route_class=StrictRoute)

SellerAccount = Annotated[
    str, Path(description="your own id of the seller, or ours, `mer_…`", examples=["seller_anna"])
]


_TERMS = {"psp_fee_payer", "dispute_fee_payer", "platform_fee_on_refund", "allow_negative_balance", "country"}


def _payout_columns(terms: PayoutTermsIn | None) -> dict[str, Any]:
    """What is said of the merchant's payouts, as columns; an interval stands with its days."""
    if terms is None:
        return {}
    said = {"payout_account"} if "account" in terms.model_fields_set else set()
    if terms.interval is not None:
        said |= {"payout_interval", "payout_weekdays", "payout_monthdays"}
    said |= {f"payout_{name}" for name in ("minimum", "delay_days") if getattr(terms, name) is not None}
    columns = payout_schedule.columns(terms.schedule) | {"payout_account": terms.account}
    return {name: value for name, value in columns.items() if name in said}


def _json(model: Any, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status, media_type="application/json")


@router.post(
    "/merchants", response_model=MerchantOut, status_code=201, responses=WRITE_PROBLEMS, summary="Add a seller"
)
async def create_merchant(
    body: Annotated[MerchantIn, Body(openapi_examples=MERCHANT)], who: MerchantsWriter, runtime: RuntimeOf
) -> Response:
    """Before its first order. A second one of the same name is 409 `merchant_exists`."""
    values = {
        "seller_account": body.seller_account,
        "name": body.name,
        "fee_percent": Decimal(body.fee.percent),
        "fee_fixed": Decimal(body.fee.fixed),
        **body.model_dump(include=_TERMS),
        **_payout_columns(body.payout),
    }

    async def work(connection: Any) -> dict[str, Any]:
        row = await merchant.create(connection, who.tenant_id, values)
        await audit_log.record(
            connection, who.tenant_id, who.key_id, "merchant.create", row["id"], body.model_dump(mode="json")
        )
        return row

    return _json(merchant_out(await runtime.database.run(work)), 201)


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
    values: dict[str, Any] = body.model_dump(exclude_unset=True, exclude={"fee", "name", "payout"}, exclude_none=True)
    if "name" in body.model_fields_set:
        values["name"] = body.name
    if body.fee is not None:
        values |= {"fee_percent": Decimal(body.fee.percent), "fee_fixed": Decimal(body.fee.fixed)}
    values |= _payout_columns(body.payout)

    current = await find_merchant(runtime, who, seller_account)

    async def work(connection: Any) -> dict[str, Any]:
        row = await merchant.change(connection, who.tenant_id, current["seller_account"], values)
        await audit_log.record(
            connection, who.tenant_id, who.key_id, "merchant.change", row["id"], body.model_dump(mode="json")
        )
        return row

    return _json(merchant_out(await runtime.database.run(work)))


@router.get("/merchants/{seller_account}", response_model=MerchantOut, responses=READ_PROBLEMS, summary="Show a seller")
async def show_merchant(seller_account: SellerAccount, who: MerchantsReader, runtime: RuntimeOf) -> Response:
    """The seller's state and terms, by your own id of it or ours."""
    return _json(merchant_out(await find_merchant(runtime, who, seller_account)))


async def find_merchant(runtime: Runtime, who: Principal, seller_account: str) -> dict[str, Any]:
    """Raises NotFound, also for a name that nobody could have."""
    if CLIENT_ID.fullmatch(seller_account) is None:
        raise NotFound("There is no such merchant.", code="merchant_not_found")
    return await runtime.database.read(lambda c: merchant.get(c, who.tenant_id, seller_account))


@router.get("/merchants", response_model=MerchantList, responses=READ_PROBLEMS, summary="List the sellers")
async def list_merchants(
    who: MerchantsReader,
    runtime: RuntimeOf,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """In the order in which they were added."""
    after = decode("merchant", cursor)
    rows = await runtime.database.read(lambda c: merchant.page(c, who.tenant_id, after=after, limit=limit + 1))
    following = encode("merchant", rows[limit - 1]["id"]) if len(rows) > limit else None
    return _json(MerchantList(data=[merchant_out(row) for row in rows[:limit]], next_cursor=following))


@router.get(
    "/wallets/{seller_account}", response_model=WalletOut, responses=READ_PROBLEMS, summary="What we owe a seller"
)
async def show_wallet(seller_account: SellerAccount, who: LedgerReader, runtime: RuntimeOf) -> Response:
    """Per currency: `pending` is not yet released, `available` can be paid out, `reserved` is held for a refund;
    `available_on` says by day when what is pending can be paid out."""
    seller = (await find_merchant(runtime, who, seller_account))["seller_account"]
    zone = runtime.settings.business_zone
    balances = await runtime.database.read(lambda c: wallet.of_seller(c, who.tenant_id, seller))
    days = await runtime.database.read(lambda c: release.next_of_seller(c, who.tenant_id, seller, zone))
    return _json(WalletOut(seller_account=seller, balances=[balance_out(balance, days) for balance in balances]))
