"""The deployment's files against the rules, and the rules against planted violations."""

from collections.abc import Callable

import pytest

from tests.deploy import rules
from tests.deploy.files import COMPOSE, DOCKERFILE, EXAMPLE, IGNORE, Files

Rule = Callable[[Files], None]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_files_follow_the_rule(rule: Rule) -> None:
    rule(Files.read())


PLANTED: list[tuple[Rule, str, str, str]] = [
    (rules.compose_has_its_form, COMPOSE, "stop_grace_period", "stop_grace_time"),
    (rules.compose_has_its_form, COMPOSE, 'command: ["api"]', "command: paysaga api"),
    (rules.compose_has_its_form, COMPOSE, 'DB_PORT: "5432"', "DB_PORT: 5432"),
    (rules.compose_has_its_form, COMPOSE, "networks: [database]", "networks: [databases]"),
    (rules.compose_has_its_form, COMPOSE, "  sandbox: {}\n", ""),
    (rules.every_image_has_an_exact_version, COMPOSE, "postgres:18.4-trixie", "postgres:18"),
    (rules.every_image_has_an_exact_version, COMPOSE, "temporalio/ui:2.54.1", "temporalio/ui:latest"),
    (rules.every_image_has_an_exact_version, COMPOSE, "paysaga:0.1.0", "paysaga:latest"),
    (rules.our_image_is_built_once, COMPOSE, "  pull_policy: never\n", "  build: .\n  pull_policy: never\n"),
    (rules.our_image_is_built_once, COMPOSE, "    build: .\n", ""),
    (rules.our_image_is_built_once, COMPOSE, "  pull_policy: never\n", ""),
    (rules.temporal_is_the_version_that_the_tests_run_on, COMPOSE, "server:1.32.0", "server:1.31.0"),
    (rules.no_secret_is_written_down, COMPOSE, "${POSTGRES_PASSWORD:?set it in .env}", "hunter2"),
    (rules.no_secret_is_written_down, COMPOSE, "${POSTGRES_PASSWORD:?set it in .env}", "${POSTGRES_PASSWORD:-easy}"),
    (rules.no_secret_is_written_down, COMPOSE, "paysaga:${DATABASE_PASSWORD:?set it in .env}@", "paysaga:easy@"),
    (rules.no_secret_is_written_down, COMPOSE, "--webhook-secret=${", "--webhook-secret=x${"),
    (rules.no_secret_is_written_down, EXAMPLE, "STRIPE_API_KEY=", "STRIPE_API_KEY=sk_" + "live_0123456789"),
    (rules.no_secret_is_written_down, DOCKERFILE, "ENV PATH", "ARG API_KEY\nENV PATH"),
    (rules.the_example_names_every_variable, EXAMPLE, "\nDATABASE_PASSWORD=", "\n#DATABASE_PASSWORD="),
    (rules.the_example_names_every_variable, EXAMPLE, "\nDATABASE_PASSWORD=", "\nDATABASE_PASSWORD=changeme"),
    (rules.the_example_names_every_variable, EXAMPLE, "#PAYSAGA_LOG_LEVEL=INFO", "#PAYSAGA_LOG_LEVEL=DEBUG"),
    (rules.the_example_names_every_variable, EXAMPLE, "#PAYSAGA_STRIPE_RATE_PER_S=25\n", ""),
    (rules.the_example_names_every_variable, COMPOSE, "${TEMPORAL_UI_PUBLISH:-", "${UI_PUBLISH:-"),
    (rules.every_setting_exists, COMPOSE, "PAYSAGA_LOG_LEVEL", "PAYSAGA_LOGLEVEL"),
    (rules.every_setting_exists, DOCKERFILE, "PAYSAGA_HOME", "PAYSAGA_FOLDER"),
    (rules.every_setting_reaches_the_containers, COMPOSE, "  PAYSAGA_PAYOUT_RUN_AT:\n", ""),
    (rules.containers_get_settings_that_fit, COMPOSE, "postgresql://paysaga:$", "postgresql://paysaga_owner:$"),
    (rules.containers_get_settings_that_fit, COMPOSE, "  PAYSAGA_ENCRYPTION_KEYS:", "  PAYSAGA_ENCRYPTION_KEY:"),
    (rules.containers_get_settings_that_fit, COMPOSE, "postgresql://paysaga_owner:$", "postgresql://paysaga:$"),
    (rules.containers_get_settings_that_fit, COMPOSE, "TEMPORAL_NAMESPACE: paysaga", "TEMPORAL_NAMESPACE: default"),
    (rules.containers_get_settings_that_fit, COMPOSE, "  PAYSAGA_READY_FILE:", "  PAYSAGA_TEMPORAL_TASK_QUEUE:"),
    (
        rules.containers_get_settings_that_fit,
        COMPOSE,
        "      PAYSAGA_READY_FILE:",
        "      PAYSAGA_HOME: ${DATABASE_OWNER_PASSWORD:?x}\n      PAYSAGA_READY_FILE:",
    ),
    (rules.every_command_exists, COMPOSE, 'command: ["worker"]', 'command: ["workers"]'),
    (rules.sandbox_understands_its_arguments, COMPOSE, "api:8000/webhooks/stripe", "api:8000/webhook/stripe"),
    (rules.every_port_is_the_one_of_the_code, COMPOSE, "127.0.0.1:8000}:8000", "127.0.0.1:8000}:8080"),
    (rules.every_port_is_the_one_of_the_code, COMPOSE, '("127.0.0.1", 8000', '("127.0.0.1", 8001'),
    (rules.every_port_is_the_one_of_the_code, COMPOSE, "PUBLISH:-127.0.0.1:8233", "PUBLISH:-0.0.0.0:8233"),
    (rules.every_port_is_the_one_of_the_code, COMPOSE, "PAYSAGA_API_HOST: 0.0.0.0", "PAYSAGA_API_HOST: 127.0.0.1"),
    (rules.what_waits_waits_for_something, COMPOSE, "migrate: { condition:", "migration: { condition:"),
    (rules.what_waits_waits_for_something, COMPOSE, "service_healthy, required: false", "service_healthy"),
    (rules.what_waits_waits_for_something, COMPOSE, "postgres: { condition: ", "temporal: { condition: "),
    (rules.every_server_is_watched_and_bounded, COMPOSE, "      retries: 6\n", ""),
    (rules.every_server_is_watched_and_bounded, COMPOSE, 'max-file: "5"', "max-file:"),
    (rules.sandbox_and_brokers_are_optional, COMPOSE, '    profiles: ["sandbox"]\n', ""),
    (rules.sandbox_and_brokers_are_optional, COMPOSE, '    profiles: ["kafka"]\n', ""),
    (rules.each_broker_is_where_the_example_says, COMPOSE, "PLAINTEXT://kafka:9092", "PLAINTEXT://kafka:9093"),
    (rules.each_broker_is_where_the_example_says, COMPOSE, "networks: [broker]", "networks: [front]"),
    (rules.workers_scale, COMPOSE, "replicas: 2", "replicas: 4"),
    (rules.workers_scale, COMPOSE, "synchronous_commit=on", "synchronous_commit=off"),
    (rules.workers_scale, COMPOSE, "PAYSAGA_READY_FILE: /tmp/ready", "PAYSAGA_READY_FILE: /app/ready"),
    (rules.workers_scale, COMPOSE, "RATE_PER_S:-25", "RATE_PER_S:-80"),
    (rules.the_database_is_apart_from_the_front, COMPOSE, "networks: [temporal, front]", "networks: [database, front]"),
    (rules.the_database_is_apart_from_the_front, COMPOSE, "database: { internal: true }", "database: {}"),
    (rules.the_database_is_apart_from_the_front, COMPOSE, "never\n  read_only: true", "never"),
    (rules.health_checks_ask_for_what_is_served, COMPOSE, "/readyz", "/ready"),
    (rules.what_is_mounted_exists, COMPOSE, "/deploy/schema.sh", "/deploy/setup.sh"),
    (rules.what_is_mounted_exists, COMPOSE, "      RETENTION:", "      KEEP:"),
    (rules.what_is_mounted_exists, COMPOSE, "VISIBILITY_DBNAME: temporal_visibility", "VISIBILITY_DBNAME: visibility"),
    (rules.the_image_is_built_from_pinned_parts, DOCKERFILE, "python:3.13.14-slim-trixie AS", "python:3.13-slim AS"),
    (rules.the_image_is_built_from_pinned_parts, DOCKERFILE, "--require-hashes ", ""),
    (rules.the_image_has_the_whole_application, DOCKERFILE, "COPY workflows workflows\n", ""),
    (rules.the_image_has_the_whole_application, DOCKERFILE, "COPY db db", "COPY database db"),
    (rules.the_image_has_the_whole_application, IGNORE, "!gateways\n", ""),
    (rules.the_image_has_the_whole_application, IGNORE, "*\n", "\n"),
    (rules.the_image_has_the_whole_application, IGNORE, "deploy/*\n", ""),
    (rules.the_image_runs_as_nobody_special, DOCKERFILE, "USER 10001:10001\n", "USER root\n"),
    (rules.the_image_runs_as_nobody_special, DOCKERFILE, "ENTRYPOINT", "RUN true\nENTRYPOINT"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "name", "old", "new"), PLANTED)
def test_a_planted_violation_breaks_the_rule(rule: Rule, name: str, old: str, new: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        rule(Files.read().planted(name, old, new))


def test_an_argument_that_the_sandbox_does_not_know_breaks_the_rule() -> None:
    files = Files.read().planted(COMPOSE, "--public-url", "--public-address")
    with pytest.raises(SystemExit):
        rules.sandbox_understands_its_arguments(files)
