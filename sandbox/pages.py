"""The sandbox's pages for people: the 3-D Secure challenge and the overview."""

import time
from html import escape
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from sandbox import payment_flow
from sandbox.accounts import Account, AnyAccount
from sandbox.context import Context
from sandbox.currencies import written
from sandbox.errors import Doc
from sandbox.state import Sandbox

router = APIRouter(include_in_schema=False)

STYLE = """
:root{color-scheme:light dark;--ink:#1a1f36;--soft:#697386;--line:#e3e8ee;--paper:#fff;--ground:#f6f8fa;
--accent:#4f46e5}@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--soft:#9aa3b5;--line:#2c3345;--paper:#171c2b;--ground:#0f1320}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:3rem auto;padding:0 1.25rem}main.narrow{max-width:27rem}
section{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:1.5rem;margin-bottom:1.5rem;
overflow-x:auto}h1{font-size:1.35rem;margin:0 0 .25rem}h2{font-size:1rem;margin:0 0 .75rem}p{margin:.25rem 0}
.soft{color:var(--soft)}.amount{font-size:2rem;font-weight:650;margin:1rem 0}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.4rem .75rem .4rem 0;border-top:1px solid var(--line);white-space:nowrap}th{border:0;
color:var(--soft);font-weight:500}code{font-size:.85em}form{display:flex;gap:.75rem;margin-top:1.5rem}button{flex:1;
font:inherit;font-weight:600;padding:.7rem;border-radius:8px;border:1px solid var(--line);background:transparent;
color:inherit;cursor:pointer}button.main{background:var(--accent);border-color:var(--accent);color:#fff}
.tag{border-radius:99px;padding:.1rem .6rem;font-size:.85em;background:#8883}.succeeded,.won{background:#22c55e33}
.failed,.canceled,.lost,.requires_payment_method{background:#ef444433}
.processing,.pending,.requires_action,.needs_response{background:#f59e0b33}
"""


async def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


Here = Annotated[Sandbox, Depends(_sandbox)]


def _page(title: str, body: str, status: int = 200, *, narrow: bool = False) -> HTMLResponse:
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><main class="{"narrow" if narrow else ""}">{body}</main></body></html>'
    )
    return HTMLResponse(html, status)


def _find(sandbox: Sandbox, intent_id: str, client_secret: str) -> tuple[AnyAccount, Doc] | None:
    """The intent that a 3-D Secure link names; the client secret in the link is the buyer's permission."""
    query = "SELECT account FROM payment_intents WHERE id = ?"
    row = sandbox.store.db.execute(query, (intent_id,)).fetchone()
    account = sandbox.accounts.by_id(row[0]) if row else None
    intent = sandbox.store.get("payment_intents", account.id, intent_id) if account else None
    if account is None or intent is None or intent["client_secret"] != client_secret:
        return None
    return account, intent


@router.get("/3ds/{intent_id}")
async def challenge(intent_id: str, sandbox: Here, client_secret: str = "") -> HTMLResponse:
    """The page that the buyer's bank would show."""
    found = _find(sandbox, intent_id, client_secret)
    if not found:
        return _page("Not found", "<section><h1>No such payment</h1></section>", 404, narrow=True)
    intent = found[1]
    amount = escape(written(intent["amount"], intent["currency"]))
    if intent["status"] != "requires_action":
        text = f"This payment is {escape(intent['status'].replace('_', ' '))}; there is nothing to approve."
        return _page("3-D Secure", f"<section><h1>Already decided</h1><p>{text}</p></section>", narrow=True)
    about = escape(intent["description"] or intent["id"])
    secret = escape(client_secret, quote=True)
    body = (
        '<section><h1>Confirm your payment</h1><p class="soft">3-D Secure · sandbox bank · no real money moves</p>'
        f'<p class="amount">{amount}</p><p class="soft">{about}</p>'
        f'<form method="post"><input type="hidden" name="client_secret" value="{secret}">'
        '<button name="decision" value="fail">Fail</button>'
        '<button class="main" name="decision" value="approve">Approve</button></form></section>'
    )
    return _page("Confirm your payment", body, narrow=True)


@router.post("/3ds/{intent_id}", response_model=None)
async def decide(intent_id: str, request: Request, sandbox: Here) -> Response:
    """The buyer's decision; then back to the shop."""
    form = dict(parse_qsl((await request.body()).decode(errors="replace")))
    decision = form.get("decision")
    found = _find(sandbox, intent_id, form.get("client_secret", ""))
    if not found:
        return _page("Not found", "<section><h1>No such payment</h1></section>", 404, narrow=True)
    account, intent = found
    if intent["status"] == "requires_action" and decision in ("approve", "fail"):
        step = payment_flow.authenticate if decision == "approve" else payment_flow.fail_authentication
        with sandbox.store.transaction():
            step(sandbox.context(account), intent)
        sandbox.wake()
    if intent["_return_url"]:
        return RedirectResponse(_return_url(intent), 303)
    status = escape(intent["status"].replace("_", " "))
    text = f"<section><h1>Done</h1><p>The payment is {status}. You can close this page.</p></section>"
    return _page("Done", text, narrow=True)


def _return_url(intent: Doc) -> str:
    parts = urlsplit(intent["_return_url"])
    failed = intent["status"] in ("requires_payment_method", "canceled")
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("payment_intent", intent["id"]),
        ("payment_intent_client_secret", intent["client_secret"]),
        ("redirect_status", "failed" if failed else "succeeded"),
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))


@router.get("/")
async def overview(sandbox: Here) -> HTMLResponse:
    """The latest objects of the default account, and the faults that are active."""
    account = sandbox.default_account
    ctx = sandbox.context(account)
    url = account.settings.webhook_url
    hook = f"Webhooks go to <code>{escape(url)}</code>." if url else "No webhook endpoint is set."
    body = (
        "<section><h1>Sandbox payment provider</h1>"
        f'<p class="soft">Account <code>{account.id}</code>. Speaks Stripe\'s API under <code>/v1</code>; '
        f"no real money moves. {hook}</p>"
        '<p class="soft">Every id on this page is the provider\'s own. A platform has other ids for the same things, '
        "even where they begin alike: <code>re_</code>, <code>po_</code>, <code>ch_</code>, <code>dp_</code>.</p>"
        "</section>"
        + _objects(ctx, "Payment intents", "payment_intents", "description")
        + _objects(ctx, "Refunds", "refunds", "payment_intent")
        + _objects(ctx, "Disputes", "disputes", "payment_intent")
        + _faults(sandbox, account)
    )
    return _page("Sandbox payment provider", body)


def _objects(ctx: Context, title: str, kind: str, about: str) -> str:
    found, _ = ctx.store.page(kind, ctx.account.id, limit=20)
    rows = "".join(
        f"<tr><td><code>{item['id']}</code></td><td>{escape(written(item['amount'], item['currency']))}</td>"
        f'<td><span class="tag {item["status"]}">{item["status"].replace("_", " ")}</span></td>'
        f"<td>{time.strftime('%H:%M:%S', time.gmtime(item['created']))} UTC</td>"
        f"<td>{escape(str(item[about] or ''))}</td></tr>"
        for item in found
    )
    head = f"<tr><th>id</th><th>amount</th><th>status</th><th>created</th><th>{about.replace('_', ' ')}</th></tr>"
    table = f"<table>{head}{rows}</table>" if rows else '<p class="soft">None yet.</p>'
    return f"<section><h2>{title}</h2>{table}</section>"


def _faults(sandbox: Sandbox, account: Account) -> str:
    active = [
        f"<tr><td>{fault.spec.kind}</td><td>{escape(subject)}</td><td>{fault.hits} hits</td></tr>"
        for registry, name in ((sandbox.faults, "operation"), (sandbox.webhook_faults, "event_type"))
        for fault in registry.of(account.id)
        if fault.active and (subject := getattr(fault.spec, name))
    ]
    body = f"<table>{''.join(active)}</table>" if active else '<p class="soft">None: the provider behaves.</p>'
    return f"<section><h2>Active faults</h2>{body}</section>"
