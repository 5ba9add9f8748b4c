"""Schemathesis against our own description, over real HTTP: what it says is so, and nothing is a 5xx."""

import asyncio
import sys
from pathlib import Path

from tests.support.shop import Shop

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
]


async def test_the_fuzzer_agrees(shop: Shop, tmp_path: Path) -> None:
    """A tenant of its own with the sellers of the examples; the same cases at every run."""
    for seller in ("seller_anna", "seller_bo"):
        await shop.post("/v1/merchants", {"seller_account": seller})
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("st")),
        *("run", f"{shop.paysaga.http.base_url}/openapi.json".replace("//openapi", "/openapi")),
        *("--header", f"Authorization: {shop.headers['Authorization']}", "--header", "Prefer: wait=0"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
        *("--max-examples", "10", "--generation-deterministic", "--no-shrink", "--continue-on-failure"),
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-8000:]
    log = (shop.paysaga.folder / "api.log").read_text()
    assert '"unhandled"' not in log
