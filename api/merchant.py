"""`/v1/merchants`: the sellers. `/v1/wallets`: what we owe them."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from api.context import LedgerReader, MerchantsReader, MerchantsWriter, ServicesOf
from api.cursor import LIMIT_DEFAULT, LIMIT_MAX, decode, encode
from api.problems import PROBLEMS
from api.schemas import MerchantIn, MerchantList, MerchantOut, MerchantPatch, WalletOut
from api.strict import StrictRoute
from api.views import balance_out, merchant_out
from db import merchant, task, wallet

router = APIRouter(prefix="/v1", tags=["merchants"], route_class=StrictRoute)

SellerAccount = Annotated[str, Path(max_length=64, examples=["seller_anna"])]


def _json(model: Any, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status, media_type="application/json")


@router.post("/merchants", response_model=MerchantOut, status_code=201, responses=PROBLEMS, summary="Add a seller")
async def create_merchant(body: MerchantIn, who: MerchantsWriter, services: ServicesOf) -> Response:
    """Before its first order. A second one of the same name is 409 `merchant_exists`."""
    values = {
        "seller_account": body.seller_account,
        "name": body.name,
        "fee_percent": Decimal(body.fee.percent),
        "fee_fixed": Decimal(body.fee.fixed),
        "psp_fee_payer": body.psp_fee_payer,
    }

    async def work(connection: Any) -> dict[str, Any]:
        row = await merchant.create(connection, who.tenant_id, values)
        await task.audit(
            connection, who.tenant_id, who.key_id, "merchant.create", row["id"], body.model_dump(mode="json")
        )
        return row

    return _json(merchant_out(await services.database.run(work)), 201)


@router.patch(
    "/merchants/{seller_account}", response_model=MerchantOut, responses=PROBLEMS, summary="Change, freeze or close"
)
async def change_merchant(
    seller_account: SellerAccount, body: MerchantPatch, who: MerchantsWriter, services: ServicesOf
) -> Response:
    """FROZEN or CLOSED: new orders are refused, and an order that is under way is refunded instead of credited.
    ACTIVE unfreezes; CLOSED is for ever. New fees hold for new orders."""
    values: dict[str, Any] = body.model_dump(exclude_unset=True, exclude={"fee"}, exclude_none=True)
    if body.fee is not None:
        values |= {"fee_percent": Decimal(body.fee.percent), "fee_fixed": Decimal(body.fee.fixed)}

    async def work(connection: Any) -> dict[str, Any]:
        current = await merchant.get(connection, who.tenant_id, seller_account)
        row = await merchant.change(connection, who.tenant_id, current["seller_account"], values)
        await task.audit(
            connection, who.tenant_id, who.key_id, "merchant.change", row["id"], body.model_dump(mode="json")
        )
        return row

    return _json(merchant_out(await services.database.run(work)))


@router.get("/merchants/{seller_account}", response_model=MerchantOut, responses=PROBLEMS, summary="Show a seller")
async def show_merchant(seller_account: SellerAccount, who: MerchantsReader, services: ServicesOf) -> Response:
    return _json(merchant_out(await services.database.read(lambda c: merchant.get(c, who.tenant_id, seller_account))))


@router.get("/merchants", response_model=MerchantList, responses=PROBLEMS, summary="List the sellers")
async def list_merchants(
    who: MerchantsReader,
    services: ServicesOf,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT,
) -> Response:
    after = decode("merchant", cursor)
    rows = await services.database.read(lambda c: merchant.page(c, who.tenant_id, after=after, limit=limit + 1))
    following = encode("merchant", rows[limit - 1]["id"]) if len(rows) > limit else None
    return _json(MerchantList(data=[merchant_out(row) for row in rows[:limit]], next_cursor=following))


@router.get("/wallets/{seller_account}", response_model=WalletOut, responses=PROBLEMS, summary="What we owe a seller")
async def show_wallet(seller_account: SellerAccount, who: LedgerReader, services: ServicesOf) -> Response:
    """Per currency: `pending` is not yet released, `available` can be paid out, `reserved` is held for a refund."""
    row = await services.database.read(lambda c: merchant.get(c, who.tenant_id, seller_account))
    balances = await services.database.read(lambda c: wallet.of_seller(c, who.tenant_id, row["seller_account"]))
    return _json(
        WalletOut(seller_account=row["seller_account"], balances=[balance_out(balance) for balance in balances])
    )
