"""The pipeline every `/v1` request goes through: account, route, idempotency, faults, execution, log, answer."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from starlette.types import Receive, Scope, Send

from sandbox import connected, misbehaviour, routes
from sandbox.connection import ClientGoneError, Connection
from sandbox.context import API_VERSION, Context
from sandbox.errors import ApiError, Doc, internal
from sandbox.expand import expand
from sandbox.faults import Fault
from sandbox.idempotency import Saved, saved
from sandbox.state import Sandbox
from sandbox.store import PREFIXES, dumps, new_id
from sandbox.wire import decode_form, read_params

# Kinds whose objects belong to a payment intent without being one.
OF_AN_INTENT = ("charges", "refunds", "disputes")
# Kinds whose metadata faults and the log match when the path names one.
MONEY_OUT = ("transfers", "payouts", "transfer_reversals")


@dataclass
class Call:
    """One request on its way through the pipeline."""

    ctx: Context
    route: routes.Route
    path: str
    object_id: str
    raw: Doc
    key: str | None
    arrived_at: float
    fault: Fault | None = None
    replayed: bool = False
    executed_wrong: bool = False
    # What the log says about it: the HTTP status that left the server, or None.
    status: int | None = None
    answered_intent: str | None = None

    @cached_property
    def intent(self) -> Doc | None:
        """The payment intent that the request acts on, as it was when first asked for."""
        kind, ctx = self.route.kind, self.ctx
        intent_id = self.object_id if kind == "payment_intents" else self.raw.get("payment_intent")
        if not intent_id:
            related = ctx.find(kind, self.object_id) if self.object_id and kind in OF_AN_INTENT else None
            if related is None and isinstance(self.raw.get("charge"), str):
                related = ctx.find("charges", self.raw["charge"])
            intent_id = related["payment_intent"] if related else None
        return ctx.find("payment_intents", intent_id) if isinstance(intent_id, str) else None

    @cached_property
    def _moved(self) -> Doc:
        """The metadata of the transfer, reversal or payout in the path, as it was when first asked for."""
        found: Doc = {}
        for name in self.object_id.split("/"):
            kind = PREFIXES.get(name.partition("_")[0])
            if kind in MONEY_OUT:
                found |= (self.ctx.find(kind, name) or {"metadata": {}})["metadata"]
        return found

    @property
    def metadata(self) -> Doc:
        """The metadata that faults and the log match: that of the intent, transfer or payout, the request's own above
        it."""
        own = self.raw.get("metadata")
        of_intent = self.intent["metadata"] if self.intent else {}
        return of_intent | self._moved | (own if isinstance(own, dict) else {})

    @property
    def ids(self) -> set[str]:
        """The objects that the request names."""
        named = [*self.object_id.split("/"), self.raw.get("charge"), self.raw.get("destination")]
        named += [self.intent["id"] if self.intent else None, self.ctx.account.connected]
        return {name for name in named if isinstance(name, str) and name}


class StripeApi:
    """ASGI application for `/v1`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless a fault says otherwise."""
        connection = Connection(scope, receive, send)
        request_id = new_id("req")
        try:
            body = await connection.read_body()
            try:
                call = self._admit(connection, body, request_id)
                answer = await self._serve(call, connection)
            except ApiError as error:
                answer = Saved(error.status, dumps(error.body), request_id, None)
                await self._respond(connection, answer, request_id, None)
            else:
                await self._respond(connection, answer, request_id, call)
        except ClientGoneError:
            pass
        except asyncio.CancelledError:
            # The server stops while this request waits: no half-true answer, the socket just closes.
            with suppress(ClientGoneError):
                connection.cut()

    def _admit(self, connection: Connection, body: bytes, request_id: str) -> Call:
        """Find the account, the operation and its object. Raises ApiError; nothing of this is logged or stored."""
        scope, headers = connection.scope, connection.headers
        platform = self._sandbox.accounts.authenticate(headers.get("authorization"))
        account = connected.select(self._sandbox.store, platform, headers.get("stripe-account"))
        method, path = scope["method"], scope["path"]
        route, object_id = routes.find(method, path)
        if method == "POST" and "json" in headers.get("content-type", ""):
            text = "Invalid request: the content type of a POST must be application/x-www-form-urlencoded."
            raise ApiError(400, text)
        raw = decode_form((body if method == "POST" else scope["query_string"]).decode(errors="replace"))
        key = headers.get("idempotency-key") or None if method == "POST" else None
        ctx = self._sandbox.context(
            account,
            base_url=self._sandbox.public_url or f"http://{headers.get('host', 'localhost')}",
            request_id=request_id,
            idempotency_key=key,
            api_version=headers.get("stripe-version", API_VERSION),
        )
        return Call(ctx, route, path, object_id, raw, key, account.time)

    async def _serve(self, call: Call, connection: Connection) -> Saved:
        """The answer; the key is in use meanwhile. Raises ApiError or ClientGoneError."""
        try:
            if call.key:
                await self._sandbox.keys.acquire(call.ctx.account, call.key, call.ctx.request_id or "")
            try:
                return await self._work(call, connection)
            finally:
                self._release_key(call)
        except ApiError as error:
            call.status = error.status
            raise
        finally:
            self._log(call)

    async def _work(self, call: Call, connection: Connection) -> Saved:
        account = call.ctx.account
        stored = self._stored(call)
        call.replayed = stored is not None
        call.fault = fault = self._sandbox.faults.claim(
            account.platform.id, call.route.operation, lambda: call.ids, lambda: call.metadata, replayed=call.replayed
        )
        if fault:
            if fault.spec.kind in misbehaviour.NOTHING_DONE:
                self._release_key(call)
            try:
                await misbehaviour.before(fault, connection)
            except ApiError as error:
                if error.executed:
                    self._save_error(call, error)
                raise
        answer = stored or self._execute(call)
        call.answered_intent = answer.payment_intent
        if fault:
            # After it was stored: a lie in the answer is told once, and the key still has the truth.
            lie = misbehaviour.distorted_answer(fault, json.loads(answer.body), executed_wrong=call.executed_wrong)
            answer = replace(answer, body=dumps(lie))
            if fault.spec.kind in misbehaviour.ANSWER_LOST:
                self._release_key(call)
            await misbehaviour.after(fault, connection)
        call.status = answer.status
        return answer

    def _release_key(self, call: Call) -> None:
        if call.key:
            self._sandbox.keys.release(call.ctx.account, call.key, call.ctx.request_id or "")

    def _stored(self, call: Call) -> Saved | None:
        if not call.key:
            return None
        return self._sandbox.keys.find(call.ctx.account, call.key, call.path, call.raw)

    def _execute(self, call: Call) -> Saved:
        """Run the operation and store its answer under the key, in one transaction."""
        ctx, fault = call.ctx, call.fault
        raw = misbehaviour.distorted_params(fault, call.raw)
        call.executed_wrong = raw is not call.raw
        try:
            with ctx.store.transaction():
                params = read_params(raw, call.route.table, call.route.required)
                document = call.route.handler(ctx, call.object_id, params)
                document = expand(ctx, document, params["expand"])
                answer = saved(
                    402 if "error" in document else 200, document, ctx.request_id or "", _intent_id(document)
                )
                if fault and fault.spec.kind == "http_500_after":
                    fault.hit()
                    answer = saved(500, internal().body, answer.request_id, answer.payment_intent)
                self._save(call, answer)
        except ApiError as error:
            if error.executed:
                self._save_error(call, error)
            raise
        self._sandbox.wake()
        return answer

    def _save(self, call: Call, answer: Saved) -> None:
        if call.key:
            self._sandbox.keys.save(call.ctx.account, call.key, call.path, call.raw, answer)

    def _save_error(self, call: Call, error: ApiError) -> None:
        """Store an error that was raised after execution began as the key's result; its changes were rolled back."""
        with call.ctx.store.transaction():
            self._save(call, saved(error.status, error.body, call.ctx.request_id or "", None))

    def _log(self, call: Call) -> None:
        intent_id = call.answered_intent or (call.intent["id"] if call.intent else None)
        entry = {
            "at": call.arrived_at,
            "operation": call.route.operation,
            "idempotency_key": call.key,
            "request_id": call.ctx.request_id,
            "status": call.status,
            "replayed": call.replayed,
            "fault": call.fault.spec.kind if call.fault else None,
            "payment_intent": intent_id,
            "account": call.ctx.account.connected,
            "metadata": call.metadata,
        }
        call.ctx.write_log("request", entry, intent_id)

    async def _respond(self, connection: Connection, answer: Saved, request_id: str, call: Call | None) -> None:
        headers = {
            "Content-Type": "application/json",
            "Request-Id": request_id,
            "Stripe-Version": connection.headers.get("stripe-version", API_VERSION),
        }
        if connection.headers.get("idempotency-key"):
            headers["Idempotency-Key"] = connection.headers["idempotency-key"]
        if call and call.ctx.account.connected:
            headers["Stripe-Account"] = call.ctx.account.connected
        if call and call.replayed:
            headers |= {"Idempotent-Replayed": "true", "Original-Request": answer.request_id}
        if answer.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="Stripe"'
        if answer.status == 409:
            headers["Stripe-Should-Retry"] = "true"
        body = answer.body.encode()
        if call and call.fault and call.fault.spec.kind == "broken_body":
            call.fault.hit()
            body = body[: len(body) // 2]
        await connection.respond(answer.status, headers, body)


def _intent_id(document: Doc) -> str | None:
    """The payment intent that an answer is or speaks of."""
    if "error" in document:
        return _intent_id(document["error"].get("payment_intent") or {})
    if document.get("object") == "payment_intent":
        return str(document["id"])
    related = document.get("payment_intent")
    return related["id"] if isinstance(related, dict) else related
