"""The first rows of the embedded stack: the development key and three sellers. Never run on a real database."""

from decimal import Decimal

from db import api_key, merchant
from db.core.database import Connection, Database
from db.core.keyring import Keyring
from db.merchant import NewMerchant
from db.notification import setting
from domain.access import EVERY_SCOPE
from domain.errors import Conflict
from domain.notification import NOTICES, Audience, ChannelName, Setting

DEVELOPMENT_TENANT = "dev"

MERCHANTS: tuple[NewMerchant, ...] = (
    {"seller_account": "seller_anna", "name": "Anna's Books", "fee_percent": Decimal("3.0"), "fee_fixed": Decimal(0)},
    {"seller_account": "seller_bo", "name": "Bo's Bikes", "fee_percent": Decimal("2.9"), "fee_fixed": Decimal("0.30")},
    {
        "seller_account": "seller_chen",
        "name": "Chen's Tea",
        "fee_percent": Decimal("5.0"),
        "fee_fixed": Decimal(0),
        "psp_fee_payer": "seller",
    },
)


async def seed(url: str, secret: str, keyring: Keyring | None = None, *, tenant_id: str = DEVELOPMENT_TENANT) -> None:
    """`secret` is the development key. Idempotent: what is there stays, and the key may do everything. With a keyring
    buyers, sellers and the operator are told of what happens; without one nobody is."""
    database = Database(url, pool_size=1)
    try:
        key_id = await database.run(lambda c: api_key.create(c, tenant_id, "development", secret))
        await database.run(lambda c: api_key.grant(c, key_id, EVERY_SCOPE))  # those of a newer release as well
        for values in MERCHANTS:
            try:
                await database.run(lambda c, v=values: merchant.create(c, tenant_id, v))  # type: ignore[misc]
            except Conflict:
                continue
        if keyring is not None:
            await database.run(lambda c: _notifications(c, keyring, tenant_id))
    finally:
        await database.close()


async def _notifications(connection: Connection, keyring: Keyring, tenant_id: str) -> None:
    """Everything by mail, and receipts by SMS too; unless somebody has chosen already."""
    if await setting.every(connection, tenant_id):
        return
    mails = [Setting(type=name, channel=ChannelName.EMAIL, enabled=True) for name in NOTICES]
    receipts = [Setting(type="payment.succeeded", channel=ChannelName.SMS, enabled=True)]
    await setting.replace(connection, tenant_id, [*mails, *receipts])
    sellers = {f"{setting.SELLER}{one['seller_account']}": f"{one['seller_account']}@shop.example" for one in MERCHANTS}
    await setting.set_sender_name(connection, tenant_id, "Paysaga Demo Shop")
    for recipient, email in {Audience.OPERATOR.value: "operator@shop.example", **sellers}.items():
        await setting.set_contact(connection, keyring, tenant_id, recipient, email=email, phone=None, locale=None)
