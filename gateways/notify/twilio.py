"""SMS and WhatsApp by Twilio, whose API takes no idempotency key: what may have been sent is looked for, and never sent
again."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from domain.notification import Answer, ChannelName, Outgoing, SuppressionReason, Verdict

_OFFICIAL = "https://api.twilio.com"
_TIMEOUT_S = 15.0
_LOOKED_AT = 50
_CLOCKS_DIFFER = timedelta(seconds=30)
_INVALID = frozenset({21211, 21214, 21217, 21614, 63003})
_UNSUBSCRIBED = frozenset({21610})
_NOT_SENT = frozenset({"failed", "undelivered", "canceled"})


class Account(NamedTuple):
    """Ours at Twilio, and the sender of one channel: a number, or a messaging service (`MG…`). `base_url`: None for the
    official one."""

    sid: str
    token: str
    sender: str
    base_url: str | None = None


class NotSent(Exception):
    """The request did not reach the other side."""


class _Http(AsyncHttpClient):  # type: ignore[misc] # the SDK has no types
    """One session, opened at the first request."""

    def __init__(self, base_url: str | None) -> None:
        super().__init__(logging.getLogger("paysaga.twilio"), True, _TIMEOUT_S)
        self._base_url = base_url
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        params: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the SDK's own
        allow_redirects: bool = False,
    ) -> Response:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout or _TIMEOUT_S))
        if self._base_url is not None:
            url = url.replace(_OFFICIAL, self._base_url, 1)
        basic = aiohttp.encode_basic_auth(*auth) if auth else None
        sent = {**(headers or {}), **({"Authorization": basic} if basic else {})}
        try:
            async with self._session.request(
                method, url, params=params, data=data, headers=sent, allow_redirects=allow_redirects
            ) as answer:
                return Response(answer.status, await answer.text(), answer.headers)
        except aiohttp.ClientConnectorError as error:
            raise NotSent from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class Twilio:
    """One channel of the account."""

    def __init__(self, account: Account, channel: ChannelName) -> None:
        self._account, self._prefix = account, "whatsapp:" if channel is ChannelName.WHATSAPP else ""
        self._http = _Http(account.base_url)
        self._client = Client(account.sid, account.token, http_client=self._http)

    async def send(self, message: Outgoing, begun_before: datetime | None) -> Answer:
        try:
            if begun_before is not None:
                return await self._found(message, begun_before)
            made = await self._client.messages.create_async(to=self._prefix + message.to, **self._fields(message))
        except NotSent:
            return Answer(Verdict.FAILED, "twilio_away")
        except TwilioRestException as error:
            return _refused(error, looked=begun_before is not None)
        except (TwilioException, aiohttp.ClientError, TimeoutError, ValueError) as error:
            verdict = Verdict.UNKNOWN if begun_before is None else Verdict.FAILED
            return Answer(verdict, f"twilio_{type(error).__name__}")
        return Answer(Verdict.SENT, provider_id=made.sid)

    def _fields(self, message: Outgoing) -> dict[str, str]:
        sender = self._account.sender
        of = {"messaging_service_sid": sender} if sender.startswith("MG") else {"from_": self._prefix + sender}
        if message.content_sid is None:
            return of | {"body": message.text}
        variables = json.dumps(message.variables, ensure_ascii=False)
        return of | {"content_sid": message.content_sid, "content_variables": variables}

    async def _found(self, message: Outgoing, since: datetime) -> Answer:
        """The message of an earlier attempt, among the latest to the same number: it has our words or, where those are
        an approved template's, it is the only one."""
        latest = await self._client.messages.list_async(to=self._prefix + message.to, limit=_LOOKED_AT)
        recent = [one for one in latest if _made_at(one) >= since - _CLOCKS_DIFFER]
        ours = [one for one in recent if message.content_sid is not None or (one.body or "").endswith(message.text)]
        if not ours or (message.content_sid is not None and len(ours) > 1):
            return Answer(Verdict.UNKNOWN, "twilio_not_found")
        (found, *_) = ours
        if str(found.status) in _NOT_SENT:
            return Answer(Verdict.DECLINED, f"twilio_{found.error_code or found.status}", found.sid)
        return Answer(Verdict.SENT, provider_id=found.sid)

    async def close(self) -> None:
        await self._http.close()


def _made_at(one: Any) -> datetime:
    made: datetime = one.date_created
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _refused(error: TwilioRestException, *, looked: bool) -> Answer:
    """By its number alone: the words have the number that was written to."""
    code = f"twilio_{error.code or error.status}"
    if looked or error.status in (401, 403, 404, 429):
        return Answer(Verdict.FAILED, code)
    if error.status >= 500:
        return Answer(Verdict.UNKNOWN, code)
    if error.code in _UNSUBSCRIBED:
        return Answer(Verdict.DECLINED, code, suppress=SuppressionReason.UNSUBSCRIBED)
    return Answer(Verdict.DECLINED, code, suppress=SuppressionReason.INVALID if error.code in _INVALID else None)
