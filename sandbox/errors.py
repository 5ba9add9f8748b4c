"""Stripe's error objects, as exceptions that carry their HTTP status."""

from typing import Any

Doc = dict[str, Any]

DOCS_URL = "https://stripe.com/docs/error-codes/"


class ApiError(Exception):
    """An answer other than 200.

    `executed` says whether the endpoint had started its work: Stripe stores such an answer under the
    idempotency key, and stores nothing for a request that failed validation.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        executed: bool = False,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        error: Doc = {"message": message, "type": kind}
        if code:
            error |= {"code": code, "doc_url": DOCS_URL + code.replace("_", "-")}
        if param:
            error["param"] = param
        self.error = error | extra

    @property
    def body(self) -> Doc:
        """The JSON document of the response."""
        return {"error": self.error}


def missing(param: str) -> ApiError:
    """A required parameter was left out."""
    return ApiError(400, f"Missing required param: {param}.", code="parameter_missing", param=param)


def not_found(noun: str, object_id: str, param: str, status: int = 404) -> ApiError:
    """No such object in this account."""
    return ApiError(status, f"No such {noun}: '{object_id}'", code="resource_missing", param=param)


def unexpected_state(message: str, intent: Doc) -> ApiError:
    """The payment intent's status does not allow the call; the intent travels in the error."""
    return ApiError(400, message, code="payment_intent_unexpected_state", executed=True, payment_intent=intent)


def internal(status: int = 500) -> ApiError:
    """The provider broke: 500 or 503."""
    message = "An unknown error occurred." if status == 500 else "Stripe is temporarily unavailable. Please try again."
    return ApiError(status, message, kind="api_error")


def rate_limited() -> ApiError:
    """The answer of Stripe's limiter; never stored under a key."""
    text = "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits."
    return ApiError(429, text, code="rate_limit")
