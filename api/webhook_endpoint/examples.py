"""The examples of webhook endpoints in the API's reference."""

from typing import Any

ENDPOINTS: dict[str, Any] = {
    "all": {"summary": "Every event of the shop → 201", "value": {"url": "https://shop.example/webhooks"}},
    "some": {
        "summary": "Only what a shop waits for → 201",
        "value": {
            "url": "https://shop.example/paid",
            "types": ["payment.succeeded", "payment.failed", "refund.succeeded"],
        },
    },
}
CHANGES: dict[str, Any] = {
    "types": {"summary": "Other events → 200", "value": {"types": ["payment.succeeded"]}},
    "disable": {"summary": "No events any more → 200 DISABLED", "value": {"status": "DISABLED"}},
    "enable": {"summary": "Again from now on → 200 ENABLED", "value": {"status": "ENABLED"}},
}
REPLAYS: dict[str, Any] = {
    "since": {"summary": "What was not delivered since a moment", "value": {"since": "2026-11-20T00:00:00Z"}}
}
