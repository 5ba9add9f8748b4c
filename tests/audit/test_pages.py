"""Every page of the terminal: whole at 80 columns, text whatever was written in it, and a document with `--json`."""

import asyncio
import json
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import typer.main
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner, Result

from cli.main import app
from cli.pages import format as look
from cli.pages.safe import safe
from tests.audit.copies import Copy

PAGES: dict[str, list[str]] = {
    "audit": [""],
    "audit-log": ["--limit 1000", "--actor olga", "--action merchant"],
    "dead-letters list": ["", "--all"],
    "dead-letters show": ["dl_00000000000000000000000000", "dl_00000000000000000000000001"],
    "disputes list": [""],
    "disputes show": ["{dp_lost}", "{dp_disputed}"],
    "keys list": [""],
    "events sinks": [""],
    "ledger balance": [""],
    "ledger statement": ["gil --from 2026-01-01", "gil --from 2026-01-01 --wallet"],
    "ledger transactions": ["--payment {approved}"],
    "ledger trial-balance": [""],
    "ledger verify": [""],
    "merchants list": [""],
    "merchants show": ["dora --tenant acme"],
    "notifications list": [""],
    "notifications settings": ["--tenant acme"],
    "notifications show": ["ntf_00000000000000000000000000"],
    "notifications suppressions": [""],
    "operators list": [""],
    "payments list": ["", "--limit 3"],
    "payments show": ["{lost}", "{approved}", "{in_review}", "{waiting}", "{came_back}"],
    "payouts items": ["{pt_debtor}"],
    "payouts list": [""],
    "payouts runs": [""],
    "payouts show": ["{pt_debtor}", "{pt_not_returned}"],
    "reconcile discrepancies": [""],
    "reconcile discrepancy": ["{disc_open}", "{disc_held}"],
    "reconcile items": ["{rec}"],
    "reconcile list": [""],
    "reconcile log": ["{rec}"],
    "reconcile show": ["{rec}", "{rec_bank}"],
    "refunds list": [""],
    "refunds show": ["{re_part}", "{re_failed}"],
    "reviews": [""],
    "risk show": ["careful"],
    "tasks": [""],
    "tenants list": [""],
    "webhook-endpoints deliveries": ["whe_00000000000000000000000000"],
    "webhook-endpoints delivery": ["whd_00000000000000000000000000"],
    "webhook-endpoints list": [""],
    "webhook-endpoints show": ["whe_00000000000000000000000000"],
}
"""Page → how it is asked for, with the names of what is in the database."""

FILES = {"ledger transactions", "payouts items", "reconcile log", "risk show"}
"""What they print is a file's content: CSV or JSON, as wide as it is."""

STARTS = {"api", "demo", "migrate", "run", "sandbox", "seed", "worker"}
"""Commands that become another program."""

ACTS = {
    "events register", "events verify", "ledger seal", "listen", "payments nudge", "reconcile report", "status",
    "sweep", "trigger", "webhooks check",
}  # fmt: skip
"""Commands without `--by` that are no page of a database; `tests/e2e/test_events.py` has the one that asks a broker,
`tests/brokers` the one that asks a registry, `tests/e2e/test_listen.py` those of a developer."""

WEBHOOKS = """
INSERT INTO webhook_endpoint (id, tenant_id, url, secret, status, disabled_because)
VALUES ('whe_00000000000000000000000000', 'acme', 'https://shop.example/hooks', 'sealed', 'DISABLED', 'failing');
INSERT INTO webhook_delivery (id, tenant_id, endpoint_id, event_id, type, object_id, status, attempts, next_attempt_at)
VALUES ('whd_00000000000000000000000000', 'acme', 'whe_00000000000000000000000000', 'evt_00000000000000000000000000',
    'webhook_endpoint.test', 'whe_00000000000000000000000000', 'DEAD', 11, now());
INSERT INTO webhook_attempt (delivery_id, n, tenant_id, at, address, status_code, latency_ms, error, response)
VALUES ('whd_00000000000000000000000000', 1, 'acme', now(), '192.0.2.1', 500, 12, 'answered 500', 'an error of ours');
INSERT INTO dead_letter (id, tenant_id, source, ref_id, object_id, error_class, error, attempts)
VALUES ('dl_00000000000000000000000000', 'acme', 'webhook_deliveries', 'whd_00000000000000000000000000',
    'whe_00000000000000000000000000', 'http_500', 'answered 500', 11);
INSERT INTO dead_letter (id, tenant_id, source, ref_id, object_id, error_class, error, attempts, status, actor, reason,
    ended_at)
VALUES ('dl_00000000000000000000000001', 'acme', 'workflows', 'refund:re_00000000000000000000000000',
    're_00000000000000000000000000', 'terminated', 'it has ended badly 3 times', 3, 'DISCARDED', 'olga', 'as it is',
    now())
"""
"""An endpoint with a delivery that was given up, and a dead letter that was discarded."""

NOTIFICATIONS = """
INSERT INTO notification (id, tenant_id, event_id, seq, type, object_id, recipient, channel, template, locale, status,
    attempts, next_attempt_at, code, suppression_id)
VALUES ('ntf_00000000000000000000000000', 'acme', 'evt_00000000000000000000000000', 1, 'payment.succeeded',
    'pay_00000000000000000000000000', 'pay_00000000000000000000000000', 'email', 'receipt', 'de', 'PENDING', 1, now(),
    'smtp_451 4.7.1', NULL);
INSERT INTO notification_setting (tenant_id, type, channel, audience, template, locale, enabled)
VALUES ('acme', 'payment.succeeded', 'email', 'buyer', 'receipt', 'de', true);
INSERT INTO notification_contact (id, tenant_id, recipient) VALUES ('ntc_1', 'acme', 'operator');
INSERT INTO suppression (id, tenant_id, channel, digest, reason, code)
VALUES ('sup_00000000000000000000000000', 'acme', 'email', 'k1:digest', 'refused', 'smtp_550 5.1.1')
"""
"""A notification that waits, what its shop wants, and an address that gets nothing more."""

ID = re.compile(r"\b[a-z]{2,4}_[0-9a-z]{20,}\b|\bpayment:pay_\w+|\bhttp\S+|`paysaga [a-z]+ [a-z]+")
OURS = re.compile("(pay|re|dp|pt|mer|key|rec|disc|task|dl|ntf|sup)_")
UNBROKEN = re.compile(r"http\S+|`paysaga [^`]+`[.,;]?|paysaga \S.*|The head of the seal\b.*")
"""A command to type, an address, a seal: what is copied is one line, however long."""
HOSTILE = "\x1b[31mA[/x][bold]B\u202eC\u2066D\x9b2JE\rF\tG\u2028H\nI"
SHOWN = "A[/x][bold]B"

_SPOIL = """
DO $$
DECLARE
  one record;
  hostile text := HOSTILE;
BEGIN
  FOR one IN
    SELECT table_name AS t, column_name AS c, data_type AS kind FROM information_schema.columns
    JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND column_name IN (
      'actor', 'address', 'because', 'buyer_id', 'cancel_failure', 'cancel_requested_by', 'capture_requested_by',
      'category', 'closed_by', 'destination', 'detail', 'error', 'event_id', 'failure', 'file_name', 'fix_note',
      'last_answer', 'line_reference', 'name', 'next_action', 'note', 'notes', 'page_origins', 'payout_account',
      'problem', 'reason',
      'reasons', 'recipient', 'reference', 'resolution', 'resolved_by', 'response', 'return_origins', 'return_url',
      'review_note', 'reviewed_by', 'trace_id', 'type')
  LOOP
    BEGIN
      IF one.kind = 'ARRAY' THEN
        EXECUTE format('UPDATE %I SET %I = ARRAY[$1]', one.t, one.c) USING hostile;
      ELSIF one.kind = 'jsonb' THEN
        EXECUTE format('UPDATE %I SET %I = (SELECT jsonb_object_agg(key, CASE WHEN key IN (''message'', ''reason'', '
          '''psp_code'', ''url'') THEN to_jsonb($1) ELSE value END) FROM jsonb_each(%I)) '
          'WHERE jsonb_typeof(%I) = ''object''', one.t, one.c, one.c, one.c) USING hostile;
      ELSE
        EXECUTE format('UPDATE %I SET %I = coalesce(%I, '''') || $1', one.t, one.c, one.c) USING hostile;
      END IF;
    EXCEPTION WHEN check_violation OR unique_violation OR not_null_violation THEN NULL;
    END;
  END LOOP;
END $$;
UPDATE webhook_inbox SET status = 'DEAD' WHERE payment_id IS NOT NULL
"""
"""Every text that a tenant, a buyer, a person or a PSP can have written; what the database itself refuses stays."""


def asked(copy: Copy) -> Iterator[tuple[str, list[str]]]:
    for page, ways in PAGES.items():
        for way in ways:
            yield page, [*page.split(), *way.format(**copy.names).split()]


async def run(copy: Copy, *words: str, columns: int = 80, code: int = 0) -> Result:
    """In this process, as hundreds of starts take their time; in a thread, as each command has a loop of its own."""
    url = copy.stack.postgres.url(copy.name, "paysaga")
    environment = {"PAYSAGA_DATABASE_URL": url, "COLUMNS": str(columns)}
    said = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
    assert said.exit_code == code, (words, said.output, said.exception)
    return said


async def test_pages_are_whole_at_80_columns_and_documents_have_what_they_have(copy: Copy) -> None:
    await copy.damage(WEBHOOKS)
    await copy.damage(NOTIFICATIONS)
    for page, words in asked(copy):
        document = (await run(copy, *words, "--json")).stdout
        if page == "reconcile log":
            assert all(json.loads(line)["class"] for line in document.splitlines())
        elif page != "audit":
            listed = page.endswith(" list") or page in ("reviews", "tasks")
            assert listed <= (json.loads(document)["object"] == "list"), words
        if page in FILES:
            continue
        wide, narrow = [(await run(copy, *words, columns=columns)).stdout for columns in (1000, 80)]
        assert {name for name in ID.findall(wide) if OURS.match(name) and name not in document} == set(), words
        assert set(ID.findall(wide)) == set(ID.findall(narrow)), words
        # A line that is longer is one that cannot be broken: an address, or a command to copy.
        long = [line.strip() for line in narrow.splitlines() if cell_len(line.rstrip()) > 80]
        assert [line for line in long if not UNBROKEN.fullmatch(line)] == [], words
        if page != "merchants list":  # a seller may be called as its id is
            assert re.findall(r"\b([a-zA-Z]+) +\1\b", narrow) == [], words


async def test_what_others_wrote_is_text(copy: Copy) -> None:
    await copy.damage(WEBHOOKS)
    await copy.damage(NOTIFICATIONS)
    await copy.damage(_SPOIL.replace("HOSTILE", f"U&{_quoted(HOSTILE)}"))
    seen = 0
    for page, words in asked(copy):
        code = 1 if page == "audit" else 0  # what is spoilt is found
        if page not in FILES - {"risk show"}:
            said = await run(copy, *words, code=code)
            assert not odd(said.output), words
            seen += SHOWN in said.stdout
        document = await run(copy, *words, "--json", code=code)
        assert not odd(document.output), words
        for one in document.stdout.splitlines() if page == "reconcile log" else [document.stdout]:
            json.loads(one)
    assert seen > 15, "most pages show something that others wrote"


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_what_is_written_without_spaces_fits_too(columns: int) -> None:
    name, reason = (
        "\u65e5\u672c\u8a9e\u306e\u5e97" * 25,
        "pay_01 \u306f\u8fd4\u91d1\u3055\u308c\u307e\u3057\u305f\u3002" * 9,
    )
    facts = look.facts()
    facts.add_row("name", name)
    table = look.table("refund", "why", "amount", right=("amount",))
    table.add_row("re_01m8kjqwprfsgs70v4neg2gevf", reason, "10.00 INR")
    for page, kept in ((facts, name), (table, "pay_01")):
        made = Console(width=columns, record=True, file=StringIO())
        made.print(page, crop=False)
        shown = made.export_text()
        assert max(cell_len(line.rstrip()) for line in shown.splitlines()) <= columns, shown
        assert kept in "".join(shown.split())


def _quoted(text: str) -> str:
    escaped = "".join(c if c.isprintable() and c not in "'\\" else f"\\{ord(c):04x}" for c in text)
    return f"'{escaped}'"


def odd(text: str) -> set[str]:
    return {character for character in text if not character.isprintable() and character != "\n"}


def commands() -> Iterator[tuple[str, Any]]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None or command.invoke_without_command:
            yield " ".join(path), command
        for name, one in (inner or {}).items():
            yield from walk(one, (*path, name))

    return walk(typer.main.get_command(app), ())


def test_every_command_that_shows_or_does_something_has_a_document() -> None:
    without = {name for name, one in commands() if not any("--json" in p.opts for p in one.params)}
    assert without == STARTS


def test_a_group_has_no_options_for_completion() -> None:
    program: Any = typer.main.get_command(app)
    options = {name for group in program.commands.values() for option in group.params for name in option.opts}
    assert not [name for name in options if "completion" in name]


def test_every_page_is_tried() -> None:
    changing = {name for name, one in commands() if any(p.name == "by" for p in one.params)}
    assert {name for name, _ in commands()} - changing - STARTS - ACTS == set(PAGES)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[/x] \\[bold] {id} 100 %", "[/x] \\[bold] {id} 100 %"),
        ("\x1b[2Ja\x07\x9b\x7f", "�[2Ja���"),
        ("a\u202eb\u2066c\u200fd\u061c", "a�b�c�d�"),
        ("a\tb\rc\u2028d\x85e", "a�b�c�d�e"),
        ("two\nlines", "two\nlines"),
        ("₹ 500 · प्रिया · عربي · 日本 · क्‍ष", "₹ 500 · प्रिया · عربي · 日本 · क्‍ष"),
        ("10\u00a0000\u2009€\ufeff\U000e0041", "10 000 €��"),
    ],
)
def test_safe(text: str, shown: str) -> None:
    assert safe(text) == shown
    assert len(safe(text)) == len(text)
