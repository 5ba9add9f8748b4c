"""The examples of notifications in the API's reference."""

from typing import Any

SETTINGS: dict[str, Any] = {
    "receipts": {
        "summary": "Receipts in German by mail",
        "value": {"settings": [{"type": "payment.succeeded", "channel": "email", "locale": "de"}]},
    }
}
CONTACTS: dict[str, Any] = {
    "mail": {"summary": "A seller's address", "value": {"email": "anna@shop.example", "locale": "de"}}
}
