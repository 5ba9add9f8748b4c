"""Schemathesis against our own description, over real HTTP: what it says is so, and nothing is a 5xx."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

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


EXAMPLES = int(os.environ.get("PAYSAGA_FUZZ_EXAMPLES", "0"))
"""By operation, as `make fuzz` sets it: every phase of every operation. Else a few, and the boundary values of what
changes something alone."""

RUNS = (
    [("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES))]
    if EXAMPLES
    else [
        ("--phases", "examples,fuzzing", "--max-examples", "3"),
        ("--phases", "coverage", "--include-method", "POST", "--include-method", "PATCH"),
    ]
)


@pytest.mark.parametrize("options", RUNS, ids=lambda options: options[1])
async def test_the_fuzzer_agrees(shop: Shop, tmp_path: Path, options: tuple[str, ...]) -> None:
    """A tenant of its own with the sellers of the examples; the same cases at every run."""
    for seller in ("seller_anna", "seller_bo"):
        await shop.post("/v1/merchants", {"seller_account": seller})
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("st")),
        *("run", f"{shop.paysaga.http.base_url}/openapi.json".replace("//openapi", "/openapi")),
        *("--header", f"Authorization: {shop.headers['Authorization']}", "--header", "Prefer: wait=0"),
        *("--checks", ",".join(CHECKS), *options),
        *("--generation-deterministic", "--no-shrink", "--continue-on-failure", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if EXAMPLES:
        sys.stdout.write(output.decode()[-3000:])
    assert process.returncode == 0, output.decode()[-8000:]
    log = (shop.paysaga.folder / "api.log").read_text()
    assert '"unhandled"' not in log
