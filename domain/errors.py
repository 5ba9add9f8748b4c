"""The errors that a caller can cause or meet. A bug of ours is an assertion instead."""


class PaysagaError(Exception):
    """The base of all. `code` is the stable code of the HTTP contract, `detail` a sentence for people, `extra` more
    members of the problem document."""

    code = "internal_error"
    status = 500

    def __init__(self, detail: str, *, code: str | None = None, **extra: str | int | None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code
        self.extra = extra


class BadRequest(PaysagaError):
    """The request cannot be read."""

    code, status = "bad_request", 400


class Unauthorized(PaysagaError):
    """No credential, or one that is not valid."""

    code, status = "unauthorized", 401


class Forbidden(PaysagaError):
    """The credential is valid, and not for this."""

    code, status = "forbidden", 403


class NotFound(PaysagaError):
    """Unknown, malformed, or another tenant's or merchant's: they cannot be told apart from outside."""

    code, status = "not_found", 404


class Conflict(PaysagaError):
    """The object's state does not allow it."""

    code, status = "conflict", 409


class Unprocessable(PaysagaError):
    """Readable, but not acceptable."""

    code, status = "unprocessable", 422


class TooManyRequests(PaysagaError):
    """More than is allowed; the extra `retry_after_s` says in how many seconds the next one is."""

    code, status = "too_many_requests", 429


class Unavailable(PaysagaError):
    """Something we depend on does not answer; nothing was accepted. Try again with the same Idempotency-Key."""

    code, status = "unavailable", 503
