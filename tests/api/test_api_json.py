"""A body that cannot be read is a 400, whatever is wrong with it, and burns nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.problem import refused
from tests.api.rows import rows
from tests.support.shop import Answer, Shop


async def send(shop: Shop, content: Any, key: str = "a-key", **headers: str) -> Answer:
    given = {"Content-Type": "application/json", "Idempotency-Key": key} | headers
    return await shop.paysaga.http.post("/v1/payments", content=content, headers=shop.headers | given)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} {"b": 2}',
        b'{"a": undefined}',
        b"\xef\xbb\xbf{}",
        '{"a": "ä"}'.encode("latin-1"),
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "line\nbreak"}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 01}',
        b'{"a": ' + b"9" * 41 + b"}",
        b'{"a": ' + b"9" * 90_000 + b"}",
        b'{"a": 0.' + b"1" * 50 + b"}",
        b'{"a": 1, "a": 1}',
        b'{"b": {"a": 1, "\\u0061": 2}}',
        b"[" * 18 + b"]" * 18,
        b"[" * 40_000 + b"]" * 40_000,
        b'{"a":' * 12_000 + b"1" + b"}" * 12_000,
    ],
    ids=lambda content: repr(content[:20]),
)
async def test_what_is_no_json_is_malformed(shop: Shop, content: bytes) -> None:
    refused(await send(shop, content), 400, "malformed_json")


@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"', b"1", b"true", b"{}"])
async def test_json_of_another_shape_names_the_fields(shop: Shop, content: bytes) -> None:
    answer = await send(shop, content)
    assert answer.status_code == 422
    assert answer.json()["errors"]
    refused(answer, 422, answer.json()["code"])


@pytest.mark.parametrize("text", ["\\u0000", "a\\u0000b", "\\ud800", "\\udfff\\ud800"])
@pytest.mark.parametrize("place", ["value", "name"])
async def test_characters_that_postgresql_cannot_store(shop: Shop, text: str, place: str) -> None:
    body = shop.body(shop.checkout(), metadata={"NAME": "VALUE"})
    content = json.dumps(body).replace(place.upper(), text)
    refused(await send(shop, content), 422, "text_invalid")


async def test_a_pair_of_surrogates_is_one_character(shop: Shop) -> None:
    body = shop.body(shop.checkout(), metadata={"emoji": "\N{GRINNING FACE}", "nul": "\\u0000"})
    answer = await send(shop, json.dumps(body), key=shop.checkout())
    assert answer.status_code == 201, answer.text
    assert answer.json()["metadata"] == {"emoji": "\N{GRINNING FACE}", "nul": "\\u0000"}


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "multipart/form-data"]
)
async def test_another_media_type_is_refused(shop: Shop, media_type: str) -> None:
    content = json.dumps(shop.body(shop.checkout()))
    answer = await send(shop, content, **{"Content-Type": media_type})
    refused(answer, 415, "unsupported_media_type")


async def test_parameters_of_the_media_type_change_nothing(shop: Shop) -> None:
    content = json.dumps(shop.body(shop.checkout()))
    answer = await send(shop, content, key=shop.checkout(), **{"Content-Type": "Application/JSON; charset=utf-8"})
    assert answer.status_code == 201, answer.text


async def test_a_body_that_declares_too_much_is_refused_unread(shop: Shop) -> None:
    refused(await send(shop, b" " * 300_000), 413, "body_too_large")


async def test_a_body_that_is_larger_than_any_checkout_is_refused(shop: Shop) -> None:
    refused(await send(shop, b'"' + b"a" * 100_000 + b'"'), 413, "body_too_large")


async def test_a_chunked_body_is_counted_while_it_comes(shop: Shop) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    refused(await send(shop, chunks()), 413, "body_too_large")


async def test_a_client_that_leaves_while_it_sends_is_no_bug_of_ours(shop: Shop) -> None:
    """Nothing is stored, and nothing is called unhandled."""
    lines = ["POST /v1/payments HTTP/1.1", "Host: x", f"Authorization: {shop.headers['Authorization']}"]
    lines += ["Idempotency-Key: left", "Content-Type: application/json", "Content-Length: 100", "", '{"buyer": ']
    before = await rows(shop)
    for _ in range(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", shop.paysaga.settings.api_port)
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        assert (await shop.get("/v1/merchants")).status_code == 200, "what was sent has arrived"
        writer.write_eof()
        assert await reader.read() == b"", "the server has closed it"
        writer.close()
    assert (await shop.get("/v1/merchants")).status_code == 200
    assert '"unhandled"' not in (shop.paysaga.folder / "api.log").read_text()
    assert await rows(shop) == before


async def test_a_chunked_body_of_fair_size_is_read(shop: Shop) -> None:
    content = json.dumps(shop.body(shop.checkout())).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for byte in range(0, len(content), 7):
            yield content[byte : byte + 7]

    answer = await send(shop, chunks(), key=shop.checkout())
    assert answer.status_code == 201, answer.text
