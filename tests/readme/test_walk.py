"""The README's walk, run as it stands: each command gives what is shown below it."""

import asyncio
import json
import re
import secrets
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.settings import DEVELOPMENT_API_KEY
from db.seed import seed
from tests.conftest import Deploy

README = Path(__file__).parents[2] / "README.md"


def blocks() -> list[tuple[str, str]]:
    """(language, text) of the walk's code blocks, in order."""
    walk = README.read_text().partition("<!-- walk -->")[2].partition("<!-- /walk -->")[0]
    return re.findall(r"```(sh|json)\n(.*?)```", walk, re.DOTALL)


def shown_in(shown: Any, answer: Any) -> bool:
    """Whether what the README shows is part of the answer."""
    if isinstance(shown, dict):
        return isinstance(answer, dict) and all(k in answer and shown_in(v, answer[k]) for k, v in shown.items())
    if isinstance(shown, list):
        return isinstance(answer, list) and len(shown) <= len(answer) and all(map(shown_in, shown, answer))
    return bool(shown == answer)


async def test_the_walk_gives_what_the_readme_shows(deploy: Deploy, tmp_path: Path) -> None:
    """At a PSP account of its own: what others refund is missing there when a payout is made."""
    paysaga = await deploy()
    owner: SecretStr | None = paysaga.settings.database_owner_url
    assert owner is not None, "the deployment has one"
    await seed(owner.get_secret_value(), DEVELOPMENT_API_KEY)
    await paysaga.sandbox.configure(processing_delay_s=5)
    script, expected = [], []
    steps = blocks()
    for position, (language, text) in enumerate(steps):
        if language == "json":
            expected.append(json.loads(text))
            continue
        answered = position + 1 < len(steps) and steps[position + 1][0] == "json"
        script.append(text.replace("http://127.0.0.1:8000", str(paysaga.http.base_url).rstrip("/")))
        script.append(f"echo; echo {MARK}" if answered else "")
    program = "\n".join(script).replace("$(date +%s)", secrets.token_hex(4))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", program),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env=paysaga.environment(),
    )
    try:
        async with asyncio.timeout(120):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    *parts, operators = output.decode().split(MARK)
    answers = [json.loads(part) for part in parts]
    assert len(answers) == len(expected) > 8
    for shown, answer in zip(expected, answers, strict=True):
        assert shown_in(shown, answer), f"README shows {shown}\nbut the answer is {answer}"
    for said in ("Nothing waits for a person.", "500.00 INR", "/report?expires="):
        assert said in operators
    assert [path.suffix for path in sorted(tmp_path.glob("rec_*"))] == [".csv", ".html"]


MARK = "=== answer ==="
