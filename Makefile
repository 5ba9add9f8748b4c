# Paysaga: `make run` starts everything; `make` alone lists what there is.
# Needs Python 3.11 or newer and make, nothing else.

.DEFAULT_GOAL := help
VENV := .venv/bin

# The first Python that is new enough, or one of its version on the PATH that is clearly quicker; with
# `make PYTHON=/path/to/python3.12 …` it is that one.
CANDIDATES := python3 python3.11 python3.12 python3.13 python3.14 python
PYTHON ?= $(shell for p in $(CANDIDATES); do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; exit; }; done; \
	command -v python3 || echo python3)

define REQUIRE_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "paysaga: Python 3.11 or newer is needed, and $(PYTHON) is not: install one, or name it with" \
		"'make PYTHON=/path/to/python3.12'." >&2; exit 1; }
endef

INSTALL = $(PYTHON) -m embedded.install $(if $(filter file,$(origin PYTHON)),,--own)

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: .venv/.installed ## start everything and send a first checkout; Ctrl-C stops it, the data stays in .paysaga
	@$(VENV)/paysaga run

.PHONY: demo
demo: .venv/.installed ## stories of checkouts, then a day: 200 of them, payouts, and a reconciliation with something to find
	@$(VENV)/paysaga demo

.PHONY: audit
audit: .venv/.installed ## check the money invariants of the running stack (or of PAYSAGA_DATABASE_URL)
	@$(VENV)/paysaga audit

.PHONY: bench
bench: .venv/.installed-dev ## throughput, latency and cost, beside the floor and others: ARGS="--rounds 4 --json FILE"
	@$(VENV)/python -m bench $(ARGS)

.PHONY: bench-page
bench-page: .venv/.installed-dev ## write a run's result into docs/performance.md: JSON=FILE, of `make bench`
	@$(VENV)/python -m bench.page $(JSON)

.PHONY: bench-scaling
bench-scaling: .venv/.installed-dev ## write the tables of docs/scaling.md: JSON="FILE FILE", of `make bench`
	@$(VENV)/python -m bench.scaling $(JSON)

.PHONY: bench-peers
bench-peers: .venv/.installed-bench ## install what `make bench` also compares with (DBOS)

.PHONY: bench-reconcile
bench-reconcile: .venv/.installed-dev ## 1,000,000 PSP lines against as many charges: what is found, time, memory; JSON at the end
	@$(VENV)/python -m bench.reconcile

.PHONY: bench-partitions
bench-partitions: .venv/.installed-dev ## 10,000,000 rows in twelve months: plans, sizes, migration, retention; JSON at the end
	@$(VENV)/python -m bench.partitions

.PHONY: bench-payouts
bench-payouts: .venv/.installed-dev ## a payout run over 10,000 sellers whose worker is killed twice; JSON at the end
	@$(VENV)/python -m bench.payouts

.PHONY: bench-growth
bench-growth: .venv/.installed-dev ## one busy merchant beside a thousand, twenty thousand payments in a row, a million stored ones beside none; twenty minutes; JSON at the end
	@$(VENV)/python -m bench.growth

.PHONY: bench-events
bench-events: .venv/.installed-dev ## a backlog of 400,000 events that the relay hands to NATS, or to the broker of PAYSAGA_EVENTS_URL: rate, CPU, memory, payments beside it; JSON at the end
	@$(VENV)/python -m bench.events

.PHONY: bench-gate
bench-gate: .venv/.installed-dev ## one tenant's crowd beside another tenant: latency, refusals, memory; JSON at the end
	@$(VENV)/python -m bench.gate

.PHONY: machine
machine: .venv/.installed-dev ## anything in any order, for long: RUNS=500 STEPS=30
	@PAYSAGA_MACHINE_RUNS=$(or $(RUNS),500) PAYSAGA_MACHINE_STEPS=$(or $(STEPS),30) $(VENV)/pytest tests/machine

.PHONY: chaos-events
chaos-events: .venv/.installed-dev ## what hands on events is killed again and again while payments go on: PAYMENTS=2000 BROKER=nats|kafka|rabbitmq
	@$(VENV)/python -m tests.machine.chaos_events --payments $(or $(PAYMENTS),2000) --broker $(or $(BROKER),nats)

.PHONY: states
states: .venv/.installed-dev ## the hot path's statements against the general path, from many random states: STATES=200
	@PAYSAGA_STATES=$(or $(STATES),200) $(VENV)/pytest tests/db/test_hot.py tests/db/test_hot_capture.py \
		tests/db/test_hot_refund.py tests/db/test_hot_payout.py tests/db/test_hot_webhook.py

.PHONY: fuzz
fuzz: .venv/.installed-dev ## the HTTP API against its description, and the webhooks: EXAMPLES=500 cases by operation
	@PAYSAGA_FUZZ_EXAMPLES=$(or $(EXAMPLES),500) $(VENV)/pytest --capture=no \
		tests/api/test_api_webhook_fuzz.py tests/api/test_api_fuzz.py

# The tests' bytecode is kept also where PYTHONDONTWRITEBYTECODE is set: each process of a run needs all of it.
KEEP := env -u PYTHONDONTWRITEBYTECODE

.PHONY: test
test: .venv/.installed-dev ## the whole suite against real PostgreSQL, Temporal and sandbox
	@$(KEEP) $(VENV)/pytest --numprocesses 5 --dist loadfile --no-loadscope-reorder

.PHONY: test-brokers
test-brokers: .venv/.installed-dev ## events at real Kafka, RabbitMQ and a schema registry, fetched where they can be had: ARGS="-k kafka"
	@$(KEEP) $(VENV)/python -m tests.brokers $(ARGS)

.PHONY: check
check: .venv/.installed-dev ## format, lint, types, import contracts, generated pages, events' schemas, tests that can be collected
	@echo "format"    && $(VENV)/ruff format --check .
	@echo "lint"      && $(VENV)/ruff check .
	@echo "types"     && $(VENV)/mypy
	@echo "contracts" && $(VENV)/lint-imports
	@echo "docs"      && $(VENV)/python -m docs.generate_states --check
	@echo "events"    && $(VENV)/python -m docs.generate_events --check
	@echo "tests"     && $(KEEP) $(VENV)/pytest --collect-only --quiet --quiet >/dev/null

.PHONY: security
security: .venv-security/.installed ## known vulnerabilities of the locks, secrets in tracked files, what CI runs
	@.venv-security/bin/python .ci/security.py

.PHONY: docs
docs: .venv/.installed-dev ## write what is generated from the code (docs/states.md, docs/events.md, domain/schemas)
	@$(VENV)/python -m docs.generate_states
	@$(VENV)/python -m docs.generate_events

.PHONY: format
format: .venv/.installed-dev ## format the code and fix what the linter can fix
	@$(VENV)/ruff format .
	@$(VENV)/ruff check --fix .

.PHONY: clients
clients: .venv/.installed-clients ## install the clients of Kafka, RabbitMQ, Redis and Twilio, for settings that name one

.PHONY: install
install: .venv/.installed-dev ## build .venv with everything (the other targets install what they need by themselves)

LOCKS_2 := requirements.lock requirements-clients.lock
LOCKS_3 := $(LOCKS_2) requirements-dev.lock

.venv/.installed: requirements.lock pyproject.toml embedded/install.py embedded/interpreter.py
	@$(REQUIRE_PYTHON)
	@$(INSTALL)

.venv/.installed-clients: $(LOCKS_2) pyproject.toml embedded/install.py embedded/interpreter.py
	@$(REQUIRE_PYTHON)
	@$(INSTALL) --clients

.venv/.installed-dev: $(LOCKS_3) pyproject.toml embedded/install.py embedded/interpreter.py
	@$(REQUIRE_PYTHON)
	@$(INSTALL) --dev

.venv/.installed-bench: $(LOCKS_3) requirements-bench.lock pyproject.toml embedded/install.py embedded/interpreter.py
	@$(REQUIRE_PYTHON)
	@$(INSTALL) --bench

.venv-security/.installed: requirements-security.lock
	@$(REQUIRE_PYTHON)
	@$(PYTHON) -m venv --clear .venv-security
	@.venv-security/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $<
	@touch $@

# The locks hold for Linux and macOS and every Python from 3.11 on. They name no index: pip's own settings decide.
LOCKED = $(VENV)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header
COMPILE = $(LOCKED) pyproject.toml --extra embedded
CLIENTS = --extra redis --extra kafka --extra rabbitmq --extra twilio
# Of what the locks before one hold, it has the same versions, and none of it twice.
AFTER = $(addprefix --constraint ,$(1)) $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' $(1))

.PHONY: lock
lock: .venv/.installed-dev ## refresh the locks to the newest versions that pyproject.toml allows
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) $(CLIENTS) --output-file requirements-clients.lock $(call AFTER,requirements.lock)
	@$(COMPILE) $(CLIENTS) --extra dev --output-file requirements-dev.lock $(call AFTER,$(LOCKS_2))
	@$(COMPILE) $(CLIENTS) --extra bench --output-file requirements-bench.lock $(call AFTER,$(LOCKS_3))
	@$(LOCKED) --group pyproject.toml:security --output-file requirements-security.lock
	@echo "the locks are fresh: run 'make test' before you commit them"

.PHONY: clean
clean: ## remove .venv and caches; the data in .paysaga stays
	@rm -rf .venv .venv-security .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info \
		.brokers
	@echo "removed .venv and the caches; the data in .paysaga is untouched"
