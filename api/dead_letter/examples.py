"""The examples of dead letters in the API's reference."""

from typing import Any

REPLAYS: dict[str, Any] = {
    "count": {
        "summary": "Only count what would be tried again",
        "value": {"source": "webhook_deliveries", "dry_run": True},
    },
    "some": {
        "summary": "Of one source and cause, fifty at most, ten a second",
        "value": {"source": "webhook_deliveries", "error_class": "http_503", "limit": 50, "rate_per_s": 10},
    },
}
DISCARDS: dict[str, Any] = {
    "reason": {"summary": "Leave it as it is", "value": {"reason": "The shop has closed, ticket 4711."}}
}
