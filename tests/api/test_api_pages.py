"""Pages for people with a browser, which has no API key: the start page, and a report by its signed link."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from rich.console import Console

from api.start import body_of
from cli.pages.reconciliation_log import report
from config.settings import Settings
from db.core.keyring import Keyring
from domain.errors import Forbidden
from embedded.errors import StackError
from services.signed_link import SignedLink
from tests.api.objects import reconciliation
from tests.api.problem import refused
from tests.audit.command import paysaga_command
from tests.support.deployment import Deployment
from tests.support.shop import Answer, Shop

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def is_a_page(answer: Answer) -> str:
    """HTML that loads nothing, runs nothing and is kept nowhere; its text."""
    headers = answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert headers["referrer-policy"] == "no-referrer"
    assert "<script" not in answer.text
    return answer.text


async def opened(shop: Shop, address: str) -> Answer:
    """As a browser opens it: without a key."""
    return await shop.paysaga.http.get(address, headers=BROWSER)


async def printed_link(shop: Shop, run_id: str, folder: Path, *arguments: str) -> str:
    file = folder / "report.html"
    report = ("reconcile", "report", run_id, "--html", str(file), *arguments)
    said = await paysaga_command(shop.paysaga.environment(), *report)
    assert said.code == 0, said.err
    assert file.exists()
    (link,) = re.findall(r"^http\S+$", said.out, re.MULTILINE)
    assert link.startswith(f"{str(shop.paysaga.http.base_url).rstrip('/')}/v1/reconciliations/{run_id}/report?")
    return str(link)


# --- the start page ---


async def test_the_start_page_leads_to_what_runs(paysaga: Deployment) -> None:
    page = is_a_page(await paysaga.http.get("/"))
    links = re.findall(r'href="([^"]+)"', page)
    assert links[0] == "docs"
    assert (await paysaga.http.get(f"/{links[0]}")).status_code == 200
    refused(await paysaga.http.post("/"), 405, "method_not_allowed")


async def test_every_page_is_private_and_answers_head(paysaga: Deployment) -> None:
    for path in ("/", "/docs", "/v1/reconciliations/rec_1/report"):
        whole = await paysaga.http.get(path, headers=BROWSER)
        head = await paysaga.http.head(path, headers=BROWSER)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        for answer in (whole, head):
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert "default-src" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["content-length"] == whole.headers["content-length"]
    assert (await paysaga.http.head("/healthz")).status_code == 200
    nowhere = await paysaga.http.head("/webhooks/stripe")
    assert (nowhere.status_code, nowhere.headers["allow"]) == (405, "POST")


def test_the_start_page_names_what_has_an_address() -> None:
    names = {"public_url": None, "temporal_ui_url": None, "sandbox_url": None}
    assert re.findall(r'href="([^"]+)"', body_of(Settings().model_copy(update=names))) == ["docs", "login"]
    given = names | {"temporal_ui_url": 'https://ui.example/?a="b"', "sandbox_url": "http://localhost:8420"}
    page = body_of(Settings().model_copy(update=given))
    assert 'href="https://ui.example/?a=&quot;b&quot;"' in page
    assert 'href="http://localhost:8420"' in page


# --- a report by its link ---


async def test_a_link_opens_its_report_and_its_log_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    run_id, other = await reconciliation(shop), await reconciliation(shop)
    link = await printed_link(shop, run_id, tmp_path, "--tenant", shop.tenant)
    page = is_a_page(await opened(shop, link))
    assert run_id in page
    (log,) = (unescape(href) for href in re.findall(r'href="(log[^"]+)"', page))
    lines = await opened(shop, link.partition("/report?")[0] + f"/{log}")
    assert (lines.status_code, lines.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert parse_qs(urlsplit(log).query)["expires"] == parse_qs(urlsplit(link).query)["expires"], (
        "no longer than the link"
    )

    path, _, query = link.partition("?")
    parts = {name: value for name, (value,) in parse_qs(query).items()}
    assert parts["tenant"] == shop.tenant
    later = str(int(parts["expires"]) + 1)
    untrue = [
        (path, parts | {"expires": later}),
        (path, parts | {"expires": "soon"}),
        (path, parts | {"expires": "9" * 30}),
        (path, parts | {"tenant": f"{shop.tenant}-other"}),
        (path, {name: value for name, value in parts.items() if name != "tenant"}),
        (path, parts | {"signature": parts["signature"][:-1]}),
        (path, parts | {"signature": "é"}),
        (path, parts | {"signature": ""}),
        (path.replace(run_id, other), parts),
        (path.replace("/report", "/log"), parts),
    ]
    for where, what in untrue:
        answer = await opened(shop, f"{where}?{urlencode(what)}")
        assert answer.status_code == 403, what
        assert "This link does not work" in is_a_page(answer)
        refused(await shop.paysaga.http.get(f"{where}?{urlencode(what)}"), 403, "link_invalid")
    for method, where in (("GET", f"/v1/reconciliations/{run_id}"), ("GET", f"/v1/reconciliations/{run_id}/items")):
        refused(await shop.paysaga.http.request(method, f"{where}?{query}"), 401, "api_key_missing")
    for method in ("POST", "PUT", "DELETE"):
        refused(await shop.paysaga.http.request(method, link), 405, "method_not_allowed")
    logged = (shop.paysaga.folder / "api.log").read_text()
    assert parts["signature"] not in logged


async def test_an_operators_link_shows_all_of_a_run(shop: Shop, tmp_path: Path) -> None:
    run_id = await reconciliation(shop)
    link = await printed_link(shop, run_id, tmp_path)
    assert "tenant=" not in link
    assert run_id in is_a_page(await opened(shop, link))
    said = await paysaga_command(shop.paysaga.environment(), "reconcile", "report", run_id, "--tenant", "nobody")
    assert (said.code, said.out) == (1, "")


async def test_a_browser_is_told_how_to_get_a_link(shop: Shop) -> None:
    run_id = await reconciliation(shop)
    path = f"/v1/reconciliations/{run_id}/report"
    remedy = f"<code>paysaga reconcile report {run_id}</code>"
    keyless = await opened(shop, path)
    assert keyless.status_code == 401
    assert remedy in is_a_page(keyless)
    keys = shop.paysaga.settings.encryption_keys
    assert keys is not None
    old = SignedLink(path, shop.tenant, int((datetime.now(UTC) - timedelta(seconds=1)).timestamp()))
    address = f"{path}?{old.query(Keyring.parse(keys.get_secret_value()))}"
    expired = await opened(shop, address)
    assert expired.status_code == 403
    page = is_a_page(expired)
    assert "This link has expired" in page
    assert remedy in page
    refused(await shop.paysaga.http.get(address), 403, "link_expired")
    unknown = await opened(shop, "/v1/reconciliations/%3Cb%3E/report")
    assert unknown.status_code == 401
    assert "<b>" not in is_a_page(unknown)


def test_a_link_outlives_the_rotation_of_keys_until_the_old_one_goes() -> None:
    old, new = "k1:" + "A" * 43 + "=", "k2:" + "B" * 43 + "="
    link = SignedLink.from_now("/v1/reconciliations/rec_1/report", None)
    signature = parse_qs(link.query(Keyring.parse(old)))["signature"][0]
    link.require(Keyring.parse(f"{new},{old}"), signature)
    with pytest.raises(Forbidden):
        link.require(Keyring.parse(new), signature)
    assert Keyring.parse(old).derived("signed link") != Keyring.parse(old).derived("another purpose")


async def test_where_nothing_can_be_written_the_link_is_left(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container; a file that is named must be written."""
    run_id = await reconciliation(shop)
    for ending in ("csv", "html"):
        (tmp_path / f"{run_id}.{ending}").mkdir()
    monkeypatch.chdir(tmp_path)
    of = (shop.paysaga.settings, shop.paysaga.database, run_id)
    console = Console(width=80, record=True)
    console.print((await report(*of, None, tenant=None, open_it=False)).shown, crop=False)
    said = console.export_text()
    assert "cannot be written" in said
    assert re.search(rf"^http\S+/{run_id}/report\?expires=\d+&signature=[\w-]{{43}}$", said, re.MULTILINE), (
        "on one line"
    )
    with pytest.raises(StackError, match="cannot be written"):
        await report(*of, tmp_path / f"{run_id}.html", tenant=None, open_it=False)
