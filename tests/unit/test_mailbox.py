"""The mailbox page shows what would have been sent, and runs nothing of it."""

from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from api import mailbox as page
from config.settings import Settings
from domain.notification import ChannelName, Outgoing
from gateways.notify.mailbox import Mailbox

EVIL = "<script>alert(1)</script>"


def client(folder: Path | None) -> httpx2.AsyncClient:
    app = FastAPI()
    page.install(app, Settings(mailbox=folder))
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://here")


async def test_mails_are_shown_in_a_frame_in_which_nothing_runs(tmp_path: Path) -> None:
    mail = Outgoing("ntf_1", f"{EVIL}@example.com", EVIL, EVIL, EVIL, f"<p>{EVIL}</p>")
    for channel in (ChannelName.EMAIL, ChannelName.SMS):
        sent = mail if channel is ChannelName.EMAIL else mail._replace(id="ntf_2", html="", subject="")
        await Mailbox(tmp_path, channel).send(sent, None)
        await Mailbox(tmp_path, channel).send(sent, None)
    async with client(tmp_path) as http:
        listed = await http.get("/mailbox")
        assert listed.text.count('<a href="/mailbox/ntf_') == 2, "the same one again is one"
        for path in ("/mailbox", "/mailbox/ntf_1", "/mailbox/ntf_2"):
            shown = await http.get(path)
            assert shown.status_code == 200
            assert "<script>" not in shown.text
            assert "default-src 'none'" in shown.headers["content-security-policy"]
        assert "<iframe sandbox src=" in (await http.get("/mailbox/ntf_1")).text
        framed = await http.get("/mailbox/ntf_1/html")
        assert framed.text == mail.html
        assert framed.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert (await http.get("/mailbox/..%2Fntf_1")).status_code == 404


async def test_without_a_folder_there_is_no_page() -> None:
    async with client(None) as http:
        assert (await http.get("/mailbox")).status_code == 404


def test_with_a_live_key_there_is_no_mailbox(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="addresses in clear"):
        Settings(stripe_api_key="sk_live_1", mailbox=tmp_path)
