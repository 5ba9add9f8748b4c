"""What must hold of the deployment's files. Each rule takes them and fails with an AssertionError."""

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml
from packaging.specifiers import SpecifierSet

from cli.main import app as cli
from config.settings import Settings
from db.core.migrate import APPLICATION_ROLE
from domain.endpoint import EventScope
from embedded.stack import APPLICATION_LOGIN, DATABASE
from embedded.temporal import Temporal
from gateways.brokers.registry import open_broker
from gateways.guard import BURST_S
from gateways.stripe.events import SUBSCRIPTIONS
from tests.deploy.files import COMPOSE, DOCKERFILE, EXAMPLE, ROOT, VARIABLE, Files, render

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Read by a program directly, not through Settings: where, so that a rename is noticed.
NOT_SETTINGS = {"PAYSAGA_READY_FILE": "workers/serve.py"}

STRIPE_REQUESTS_PER_S = 100
BROKERS = {
    "nats": "nats://nats:4222",
    "kafka": "kafka://kafka:9092",
    "rabbitmq": "amqp://rabbitmq:5672/?queue=events",
}
TEMPORAL_CONNECTIONS = 4 * (20 + 10)  # frontend, history, matching, worker; SQL_MAX_CONNS and SQL_VIS_MAX_CONNS

# What Compose knows and this file uses: a misspelt key would be refused by Compose, or worse, kept and ignored.
SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "deploy", "entrypoint", "environment", "healthcheck", "image", "init",
    "logging", "networks", "ports", "profiles", "pull_policy", "read_only", "restart", "security_opt", "shm_size",
    "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
TOP_KEYS = {"name", "services", "networks", "volumes"}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
DURATION = re.compile(r"(\d+h)?(\d+m)?(\d+s)?")

_WITHOUT_DEFAULT = {
    *(f"PAYSAGA_STRIPE_{name}" for name in ("BASE_URL", "RETURN_URL", "STATEMENT_DESCRIPTOR")),
    *(f"PAYSAGA_JWT_{name}" for name in ("ISSUER", "AUDIENCE", "JWKS_URL", "JWKS_FILE")),
    "PAYSAGA_SANDBOX_URL",
    "PAYSAGA_RATE_LIMIT_REDIS_URL",
    "PAYSAGA_EVENTS_URL",
    "PAYSAGA_EVENTS_REGISTRY",
    "PAYSAGA_SMTP_URL",
    *(f"PAYSAGA_TWILIO_{name}" for name in ("ACCOUNT_SID", "AUTH_TOKEN", "SMS_FROM", "WHATSAPP_FROM", "BASE_URL")),
    "PAYSAGA_TEMPLATES",
    "PAYSAGA_API_TLS_CERT_PATH",
    "PAYSAGA_API_TLS_KEY_PATH",
}


def default(setting: str) -> Any:
    return Settings.model_fields[setting].default


def is_job(service: dict[str, Any]) -> bool:
    return bool(service["restart"] == "no")


def texts(value: Any) -> Iterator[str]:
    """Every text inside a parsed document."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


# --- docker-compose.yml ---


def compose_has_its_form(files: Files) -> None:
    """The parts of the Compose specification that this file uses."""
    assert {key for key in files.compose if not key.startswith("x-")} == TOP_KEYS
    for name, service in files.services.items():
        assert set(service) <= SERVICE_KEYS, f"{name}: {set(service) - SERVICE_KEYS}"
        assert service["restart"] in ("no", "unless-stopped"), name
        for key in ("command", "entrypoint"):
            assert isinstance(service.get(key, []), list), f"{name}: {key} in shell form"
        for value in service.get("environment", {}).values():
            assert value is None or isinstance(value, str), f"{name}: YAML makes a number or a bool of {value!r}"
        assert set(service["deploy"]) <= {"replicas", "resources"}, name
        for port in service.get("ports", []):
            assert re.fullmatch(r"[\d.]+:\d+:\d+", render(port)), f"{name}: {port}"
        for key in ("networks", "volumes"):
            named = {item.split(":")[0] for item in service.get(key, []) if not item.startswith(".")}
            assert named <= set(files.compose[key]), f"{name}: {key} {named} are not declared"
        assert DURATION.fullmatch(service.get("stop_grace_period", "1s")), name
    used = {network for service in files.services.values() for network in service["networks"]}
    assert used == set(files.compose["networks"])


def every_image_has_an_exact_version(files: Files) -> None:
    for name, service in files.services.items():
        image, _, tag = service["image"].partition(":")
        if name in files.ours():
            assert (image, tag) == ("paysaga", PROJECT["project"]["version"]), name
        else:
            assert re.fullmatch(r"\d+\.\d+(\.\d+)?(-[a-z]+)?", tag), f"{name}: {service['image']}"
            assert image == "postgres" or tag.count(".") == 2, f"{name}: {service['image']}"


def our_image_is_built_once(files: Files) -> None:
    """By the job that API and workers wait for; nobody looks for it in a registry, where the name is a stranger's."""
    assert [name for name, service in files.ours().items() if "build" in service] == ["migrate"]
    for name, service in files.ours().items():
        assert service["pull_policy"] == "never", name


def temporal_is_the_version_that_the_tests_run_on(files: Files) -> None:
    others = [service for name, service in files.services.items() if name not in files.ours()]
    images = dict(service["image"].split(":") for service in others)
    assert images["temporalio/server"] == images["temporalio/admin-tools"]
    program = sys.executable.rpartition("/")[0] + "/temporal"
    said = subprocess.run((program, "--version"), capture_output=True, text=True, check=True).stdout
    server = re.search(r"Server (\d+\.\d+)\.", said)
    assert server, said
    assert images["temporalio/server"].startswith(f"{server[1]}."), said


def no_secret_is_written_down(files: Files) -> None:
    for name, text in files.texts.items():
        found = re.findall(r"(?:sk|pk|rk)_(?:test|live)_\w+|whsec_\w+|\b[\w+/]{40,}={0,2}|\b[0-9a-f]{24,}\b", text)
        assert not found, f"{name}: {found}"
    given = "".join(match[0] for match in re.finditer(r"[^\n]*://[^\n]*", files.texts[COMPOSE]))
    assert not re.search(r"://[^/\s:]+:(?!\$\{\w+:\?)[^/\s]*@", given), "a password in a URL"
    for name, service in files.services.items():
        for key, value in service.get("environment", {}).items():
            if value is not None and re.search(r"PASSWORD|_PWD$|SECRET|API_KEY|_KEYS$|TOKEN", key):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]*\}", str(value)), f"{name}: {key}"
        for argument in service.get("command", []):
            if re.match(r"--[\w-]*(key|secret|password)=", argument):
                assert re.fullmatch(r"--[\w-]+=\$\{[A-Z_]+:\?[^}]*\}", argument), f"{name}: {argument}"
    assert not re.search(r"^(ARG|ENV) .*(PASSWORD|SECRET|KEY)", files.texts[DOCKERFILE], re.MULTILINE)


def the_example_names_every_variable(files: Files) -> None:
    """And no other; what is required is empty there, what is optional is commented out and shows its default."""
    example = files.example()
    # Parsed, so that a `${…}` in a comment does not count.
    variables = [match for text in texts(files.compose) for match in VARIABLE.finditer(text)]
    assert "${" not in VARIABLE.sub("", "".join(texts(files.compose))), "a form of ${…} that no rule looks at"
    required = {match["name"] for match in variables if match["form"] == "?"}
    defaults = {match["name"]: match["text"] for match in variables if match["form"] == "-"}
    passed_on = {
        key for service in files.services.values() for key, value in service.get("environment", {}).items() if not value
    }
    assert set(example) == required | set(defaults) | passed_on | {"COMPOSE_PROFILES"}
    assert {name for name, (_, commented) in example.items() if not commented} == required
    for name in required:
        assert example[name][0] == "", f"{name} has a value in {EXAMPLE}"
    for name, value in defaults.items():
        assert example[name][0] == value, name
    for name in passed_on - _WITHOUT_DEFAULT:
        field = default(name.removeprefix("PAYSAGA_").lower())
        shown = example[name][0]
        assert (set(shown.split(",")) if isinstance(field, frozenset) else shown) == (
            field if isinstance(field, frozenset) else str(field)
        ), name


def every_setting_exists(files: Files) -> None:
    documents = [*files.texts.values(), *(path.read_text() for path in (ROOT / "deploy").rglob("*") if path.is_file())]
    named = {name for text in documents for name in re.findall(r"PAYSAGA_[A-Z0-9_]+", text)}
    fields = {f"PAYSAGA_{name.upper()}" for name in Settings.model_fields}
    assert named - fields == set(NOT_SETTINGS), f"not in config/settings.py: {named - fields}"
    for name, where in NOT_SETTINGS.items():
        assert f'"{name}"' in (ROOT / where).read_text()


NOT_PASSED_ON = {
    "home", "api_host", "api_port", "database_url", "database_owner_url", "sandbox_host", "sandbox_port",
    "nats_port", "temporal_address", "temporal_port", "temporal_ui_port", "temporal_namespace", "temporal_task_queue",
    "temporal_api_key", "temporal_tls", "temporal_tls_ca_path", "temporal_tls_cert_path", "temporal_tls_key_path",
    "temporal_tls_server_name", "codec_local_api_key",
    "worker_metrics_port", "temporal_metrics_port", "webhooks_to_loopback",
    "mailbox",
}  # fmt: skip
"""Settings that the file itself decides: addresses, ports and logins between its containers."""


def every_setting_reaches_the_containers(files: Files) -> None:
    """Whatever config/settings.py offers can be set in .env."""
    for name in ("api", "worker"):
        given = {key.removeprefix("PAYSAGA_").lower() for key in files.services[name]["environment"]}
        missing = set(Settings.model_fields) - NOT_PASSED_ON - given
        assert not missing, f"{name} does not get {missing}"


def containers_get_settings_that_fit(files: Files) -> None:
    """What is required is there, it is valid, and each password is known only where it is used."""
    seen: dict[str, Settings] = {}
    for name in files.ours():
        environment = {**files.image_environment(), **files.environment(name)}
        with pytest.MonkeyPatch.context() as patch:
            for variable in Settings.model_fields:
                patch.delenv(f"PAYSAGA_{variable.upper()}", raising=False)
            for variable, value in environment.items():
                if variable.startswith("PAYSAGA_"):
                    patch.setenv(variable, value)
            seen[name] = Settings()
    login = f"postgresql://{APPLICATION_LOGIN}:secret@postgres:5432/{DATABASE}"
    for name in ("api", "worker"):
        settings = seen[name]
        assert settings.database_url, name
        assert settings.database_url.get_secret_value() == login, name
        assert settings.encryption_keys, name
        assert settings.stripe_api_key, name
        assert settings.stripe_webhook_secret, name
        assert settings.temporal_address == f"temporal:{default('temporal_port')}", name
        namespace = files.services["temporal-namespace"]["environment"]["TEMPORAL_NAMESPACE"]
        assert settings.temporal_namespace == namespace, name
        assert "PAYSAGA_STRIPE_BASE_URL" in files.services[name]["environment"], name
    own = {"PAYSAGA_API_HOST", "PAYSAGA_API_PORT", "PAYSAGA_READY_FILE"}
    shared = [
        {k: v for k, v in files.services[name]["environment"].items() if k not in own} for name in ("api", "worker")
    ]
    assert shared[0] == shared[1], "API and worker would not work on the same payments"
    owner = seen["migrate"].database_owner_url
    assert owner, "migrate"
    assert re.fullmatch(
        rf"postgresql://(?!{APPLICATION_LOGIN}:)\w+:secret@postgres:5432/{DATABASE}", owner.get_secret_value()
    )
    for variable, users in {
        "DATABASE_OWNER_PASSWORD": {"postgres", "migrate"},
        "DATABASE_PASSWORD": {"postgres", "api", "worker"},
        "TEMPORAL_DATABASE_PASSWORD": {"postgres", "temporal", "temporal-schema"},
        "POSTGRES_PASSWORD": {"postgres"},
        "PAYSAGA_ENCRYPTION_KEYS": {"api", "worker"},
    }.items():
        knows = {n for n, s in files.services.items() if any(f"${{{variable}:" in text for text in texts(s))}
        assert knows == users, f"{variable} is known to {knows}"


def every_command_exists(files: Files) -> None:
    entry = files.exec_form("ENTRYPOINT")
    assert entry[:2] == ["python", "-m"]
    assert importlib.import_module(entry[2]).app is cli
    group = typer.main.get_command(cli)
    assert isinstance(group, typer.core.TyperGroup)
    wanted = {"migrate": "migrate", "api": "api", "worker": "worker", "sandbox": "sandbox"}
    assert {name: service["command"][0] for name, service in files.ours().items()} == wanted
    for name, service in files.ours().items():
        assert "entrypoint" not in service, name
        assert service["command"][0] in group.commands, name
        assert name == "sandbox" or len(service["command"]) == 1, name
    assert files.exec_form("CMD") == ["--help"]


def sandbox_understands_its_arguments(files: Files) -> None:
    from sandbox.__main__ import arguments

    command = [render(argument) for argument in files.services["sandbox"]["command"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sandbox", "--data", "x", *command[1:]])
        given = arguments()  # argparse leaves with SystemExit on a flag that it does not know
    api = files.environment("api")
    assert given.account_key == api["PAYSAGA_STRIPE_API_KEY"]
    assert given.webhook_secret == api["PAYSAGA_STRIPE_WEBHOOK_SECRET"]
    assert given.webhook_url == f"http://api:{default('api_port')}/webhooks/stripe"
    assert tuple(given.webhook_events.split(",")) == SUBSCRIPTIONS[EventScope.ACCOUNT]
    assert tuple(given.webhook_seller_events.split(",")) == SUBSCRIPTIONS[EventScope.SELLERS]
    base = files.example()["PAYSAGA_STRIPE_BASE_URL"][0]
    assert base == f"http://sandbox:{default('sandbox_port')}"


def every_port_is_the_one_of_the_code(files: Files) -> None:
    expected = {
        "api": (default("api_port"), "PAYSAGA_API_PORT"),
        "temporal-ui": (default("temporal_ui_port"), "TEMPORAL_UI_PORT"),
        "sandbox": (default("sandbox_port"), "PAYSAGA_SANDBOX_PORT"),
    }
    assert {name for name, service in files.services.items() if "ports" in service} == set(expected)
    for name, (port, variable) in expected.items():
        service = files.services[name]
        assert render(service["ports"][0]) == f"127.0.0.1:{port}:{port}", name
        assert service["environment"][variable] == str(port), name
        test = " ".join(service["healthcheck"]["test"])
        assert re.search(rf"127\.0\.0\.1[:\", ]+{port}\b", test), f"{name}: {test}"
        assert any(not (files.compose["networks"][n] or {}).get("internal") for n in service["networks"]), name
    for name, variable in (
        ("api", "PAYSAGA_API_HOST"),
        ("sandbox", "PAYSAGA_SANDBOX_HOST"),
        ("temporal", "BIND_ON_IP"),
    ):
        assert files.services[name]["environment"][variable] == "0.0.0.0", name  # noqa: S104 - inside a container
    assert files.environment("temporal-ui")["TEMPORAL_CORS_ORIGINS"].endswith(f":{default('temporal_ui_port')}")


def what_waits_waits_for_something(files: Files) -> None:
    for name, service in files.services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in files.services, f"{name} waits for {other}"
            target = files.services[other]
            wanted = "service_completed_successfully" if is_job(target) else "service_healthy"
            assert how["condition"] == wanted, f"{name} waits for {other}"
            hidden = set(target.get("profiles", [])) - set(service.get("profiles", []))
            assert how.get("required", True) is not bool(hidden), f"{name} waits for {other}, which may not be there"
    needs = {name: set(service.get("depends_on", {})) for name, service in files.services.items()}
    for name in ("api", "worker"):
        assert {"migrate", "temporal-namespace"} <= needs[name]
    started: set[str] = set()
    while ready := {name for name in needs if needs[name] <= started} - started:
        started |= ready
    assert started == set(needs), f"these wait for each other: {set(needs) - started}"


def every_server_is_watched_and_bounded(files: Files) -> None:
    for name, service in files.services.items():
        check = service.get("healthcheck")
        assert (check is None) is is_job(service), f"{name}: a server has a health check, a job ends"
        if check:
            assert set(check) == HEALTH_KEYS, name
            assert check["test"][0] == "CMD", name
        limits = service["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) > 0, name
        assert re.fullmatch(r"\d+[mg]", limits["memory"]), name
        assert service["logging"]["options"]["max-size"], name
        assert service["logging"]["options"]["max-file"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert set(files.services) >= {"postgres", "temporal", "temporal-ui", "migrate", "api", "worker", "sandbox"}


def sandbox_and_brokers_are_optional(files: Files) -> None:
    optional = {name: service["profiles"] for name, service in files.services.items() if "profiles" in service}
    assert optional == {name: [name] for name in ("sandbox", *BROKERS)}


def each_broker_is_where_the_example_says(files: Files) -> None:
    for name, url in BROKERS.items():
        assert url in files.texts[EXAMPLE], name
        open_broker(url)  # raises for what is no broker's
        assert urlsplit(url).hostname == name
        assert set(files.services[name]["networks"]) == {"broker"}, name
    for name in ("api", "worker"):
        assert "broker" in files.services[name]["networks"], name
    advertised = files.services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised.removeprefix("PLAINTEXT") == BROKERS["kafka"].removeprefix("kafka")


def workers_scale(files: Files) -> None:
    worker = files.services["worker"]
    assert "ports" not in worker, "two containers cannot have one host port"
    assert worker["deploy"]["replicas"] >= 2
    processes = 1 + worker["deploy"]["replicas"]
    flags = [argument.removeprefix("-c") for argument in files.services["postgres"]["command"][1:]]
    options = dict(flag.split("=", 1) for flag in flags)
    pool = default("database_pool_size")
    assert TEMPORAL_CONNECTIONS + 2 * processes * pool + 10 <= int(options["max_connections"]), "twice, to scale"
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        assert options[name] == "on", name
    rate = float(files.environment("worker")["PAYSAGA_STRIPE_RATE_PER_S"])
    assert processes * rate * (1 + BURST_S) < STRIPE_REQUESTS_PER_S
    # The file tells that the worker is up: it must not outlive it.
    ready = worker["environment"]["PAYSAGA_READY_FILE"]
    assert worker["healthcheck"]["test"] == ["CMD", "test", "-f", ready]
    assert any(ready.startswith(f"{folder}/") for folder in worker["tmpfs"])


def the_database_is_apart_from_the_front(files: Files) -> None:
    networks = {name: set(service["networks"]) for name, service in files.services.items()}
    inside = {name for name in networks if "database" in networks[name]}
    assert inside == {"postgres", "temporal-schema", "temporal", "migrate", "api", "worker"}
    assert all(files.compose["networks"][name] == {"internal": True} for name in ("database", "temporal", "broker"))
    assert networks["postgres"] == {"database"}
    for name, service in files.ours().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "/tmp" in service["tmpfs"], name  # noqa: S108 - a container's own


@cache
def _served() -> dict[str, Any]:
    """The API's paths. To describe them takes half a second."""
    from api.app import create_app

    paths: dict[str, Any] = create_app(Settings()).openapi()["paths"]
    return paths


def health_checks_ask_for_what_is_served(files: Files) -> None:
    paths = _served()
    probe = files.services["api"]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "python", "-c"]
    asked = re.findall(r'"GET", "([^"]+)"', probe[3])
    assert asked == ["/readyz"]
    assert "get" in paths["/readyz"]
    assert "post" in paths["/webhooks/{psp}"]  # what the sandbox and Stripe are told


def what_is_mounted_exists(files: Files) -> None:
    for name, service in files.services.items():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if not source.startswith("."):
                continue
            assert (ROOT / source).is_dir(), f"{name}: {source}"
            assert mode == ["ro"], f"{name}: {source}"
            inside = [t for t in texts(service) if t.startswith(f"{target}/")]
            for path in inside:
                assert (ROOT / source / path.removeprefix(f"{target}/")).is_file(), f"{name}: {path}"
            assert inside or target == "/docker-entrypoint-initdb.d", name
    schema, namespace = (files.services[name] for name in ("temporal-schema", "temporal-namespace"))
    read = {"schema.sh": schema, "namespace.sh": namespace}
    for script, service in read.items():
        text = (ROOT / "deploy/temporal" / script).read_text()
        names = set(re.findall(r"\$([A-Z][A-Z_]+)", text))
        assert names <= set(service["environment"]), script
    init = (ROOT / "deploy/postgres/init.sh").read_text()
    passwords = set(re.findall(r"\\getenv \w+ (\w+)", init))
    assert passwords == set(re.findall(r"\$\{(\w+):\?\}", init))
    assert passwords <= set(files.services["postgres"]["environment"])
    for login in (APPLICATION_LOGIN, APPLICATION_ROLE, schema["environment"]["SQL_USER"]):
        assert f"CREATE ROLE {login} " in init
    server = files.services["temporal"]["environment"]
    for database in (DATABASE, server["DBNAME"], server["VISIBILITY_DBNAME"]):
        assert f"CREATE DATABASE {database} OWNER" in init
    assert server["POSTGRES_USER"] == schema["environment"]["SQL_USER"]


def temporal_is_set_as_in_the_embedded_stack(files: Files) -> None:
    path = files.services["temporal"]["environment"]["DYNAMIC_CONFIG_FILE_PATH"].removeprefix("/deploy/")
    document = yaml.safe_load((ROOT / "deploy/temporal" / path).read_text())
    here = {f"{key}={str(value[0]['value']).lower()}" for key, value in document.items()}
    flags = Temporal(ROOT, port=1, ui_port=2).child().argv
    there = {flags[i + 1] for i, flag in enumerate(flags) if flag == "--dynamic-config-value"}
    assert here == there


# --- Dockerfile and .dockerignore ---


def the_image_is_built_from_pinned_parts(files: Files) -> None:
    stages = files.rests("FROM")
    assert len(stages) == 2
    version = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-[a-z]+ AS build", stages[0])
    assert version, stages[0]
    assert stages[1] == stages[0].removesuffix(" AS build")
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(version[1])
    installs = [rest for rest in files.rests("RUN") if "install " in rest and "pip" in rest]
    assert len(installs) == 1
    for lock in ("requirements.lock", "requirements-clients.lock"):
        assert f"--requirement {lock}" in installs[0]
    assert "--no-deps --only-binary=:all: --require-hashes" in installs[0]
    assert not files.rests("ADD")


def the_image_has_the_whole_application(files: Files) -> None:
    copied: set[str] = set()
    for rest in files.rests("COPY"):
        if rest.startswith("--from="):
            continue
        *sources, _ = rest.split()
        for source in sources:
            assert (ROOT / source).exists(), f"COPY {source}"
            assert files.enters_build(source), f".dockerignore keeps {source} out"
            copied.add(source)
    assert copied == {
        *PROJECT["tool"]["setuptools"]["packages"],
        "requirements.lock",
        "requirements-clients.lock",
    }
    assert files.enters_build("db/migrations/versions/0002_rules.py")
    for path in (
        ".env",
        ".git/config",
        ".venv/bin/python",
        ".paysaga/keys",
        "deploy/example.env",
        "tests/x",
        "api/__pycache__/x.pyc",
        "new",
    ):
        assert not files.enters_build(path), f".dockerignore lets {path} in"


def the_image_runs_as_nobody_special(files: Files) -> None:
    last = files.instructions[[word for word, _ in files.instructions].index("USER") :]
    assert files.rests("USER") == ["10001:10001"], "by number, so that an orchestrator can see that it is not root"
    assert {word for word, _ in last} == {"USER", "ENTRYPOINT", "CMD"}
    environment = files.image_environment()
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    home = environment["PAYSAGA_HOME"]
    assert f"--mode=0700 {home}" in files.rests("RUN")[-1]
    assert files.services["sandbox"]["volumes"] == [f"sandbox:{home}"]


RULES: tuple[Callable[[Files], None], ...] = (
    compose_has_its_form,
    every_image_has_an_exact_version,
    our_image_is_built_once,
    temporal_is_the_version_that_the_tests_run_on,
    no_secret_is_written_down,
    the_example_names_every_variable,
    every_setting_exists,
    every_setting_reaches_the_containers,
    containers_get_settings_that_fit,
    every_command_exists,
    sandbox_understands_its_arguments,
    every_port_is_the_one_of_the_code,
    what_waits_waits_for_something,
    every_server_is_watched_and_bounded,
    sandbox_and_brokers_are_optional,
    each_broker_is_where_the_example_says,
    workers_scale,
    the_database_is_apart_from_the_front,
    health_checks_ask_for_what_is_served,
    what_is_mounted_exists,
    temporal_is_set_as_in_the_embedded_stack,
    the_image_is_built_from_pinned_parts,
    the_image_has_the_whole_application,
    the_image_runs_as_nobody_special,
)
