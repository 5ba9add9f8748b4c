"""Writes docs/events.md and domain/schemas from the catalogue of events; with `--check` it only says whether they are
current.

What is in domain/schemas is what consumers build on: a change that would break one is neither written nor passed. The
rule is "forward": whatever the new schema allows, a reader of the old one accepts. `make docs` and `make check` call
it.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jsoncompat

from domain.event_types import EventType, event_types

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "events.md"
SCHEMAS = ROOT / "domain" / "schemas"

INTRO = """\
# Events

Generated from `domain/event_types.py`: change the models there and run `make docs`; `make check` fails while this page
or `domain/schemas` differs.

Whatever happens is an event, written in the transaction that makes it true. The relay publishes it at least once and in
order per object: drop an `id` that you know, ignore a `sequence` below the last one of the same `subject`. Each carries
the object as it is afterwards, amounts as decimal strings. None has a name, an address or a token.

Events are [CloudEvents 1.0](https://cloudevents.io) as structured JSON:

| attribute | what it is |
|---|---|
| `id` | the event's own id, the same at every repetition |
| `source` | `/paysaga/{tenant}` |
| `type` | `com.paysaga.{noun}.{verb}.v{n}` |
| `subject`, `partitionkey` | our id of the object |
| `time` | when it happened |
| `dataschema` | the name of the schema of `data`; `GET /v1/event-types` has all of them |
| `tenantid` | the tenant |
| `sequence` | 20 digits, which rise with every event of an object |
| `data` | the object, as below |

Within a version fields are added, required or narrowed; what a reader of the version has to accept otherwise (a field
that goes, may be missing, may be null, has another type or another word) is a new version beside the old one.
"""

BROKERS = """\
## To a company: brokers
`PAYSAGA_EVENTS_URL` names one. Each is an extra of the package (`nats`, `kafka`, `rabbitmq`), and the image has all of
them; in a checkout `make clients` installs those of which the stack has no server. Special characters of a password are
written as `%40`.

| | NATS JetStream | Kafka | RabbitMQ |
|---|---|---|---|
| URL | `nats://user:password@host:4222`, `tls://` | `kafka://host:9092,host2:9092`, `kafka+ssl://user:password@host:9093` | `amqp://user:password@host:5672/vhost`, `amqps://` |
| options, after a `?` | | `sasl` (`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`), `replication`, `cafile`, `certfile`, `keyfile` | `queue`, `heartbeat`, `cafile`, `certfile`, `keyfile` |
| events are in | stream `PAYSAGA`, 14 days | topics `paysaga.v1.{noun}`, as long as the cluster keeps them | exchange `paysaga.v1.events` (topic), and the queues that consumers bind |
| under | `paysaga.v1.{tenant}.{noun}.{verb}.{object_id}` | key `object_id`, 12 partitions for ever | key `{tenant}.{noun}.{verb}` |
| stored | acknowledged by the stream | idempotent producer, `acks=all` | publisher confirms, persistent |
| a full disk | the stream refuses, the relay waits | as NATS | as NATS |
| `paysaga events verify --since 2026-11-20` | yes | yes | no: what was consumed is gone |

A stream, topics or an exchange that are missing are made at the first connection; those that are there stay as their
operator wants them. `replication` is of topics that are made so, else the cluster's default; for `acks=all` to mean several brokers,
set `min.insync.replicas` there. RabbitMQ drops what no queue is bound for: bind yours (quorum) before events flow, or
have `?queue=NAME` keep all of them in a durable quorum queue, which grows until somebody reads it.

**Promised with each**: every event at least once; of one object in order, also when the relay or the broker is killed
on the way; a repetition has the same `id`. A broker that is away is no attempt: events wait in the outbox, and payments
go on; afterwards they are handed on at `PAYSAGA_RELAY_RATE_PER_S` (4,000), so that payments stay as quick. A batch that was
given up half sent is never sent behind newer events. An event that is too large is refused alone, five times, and is then a dead letter. RabbitMQ keeps the order of a queue for one consumer at a time
(`x-single-active-consumer`).

**Schema registry**: with `PAYSAGA_EVENTS_REGISTRY=https://user:password@host` (Confluent's API; of Apicurio the path
`/apis/ccompat/v7`), `paysaga events register` puts the schema of `data` there: a subject for each version of a type,
named as its `type` (`com.paysaga.payment.succeeded.v1`), compatibility FORWARD. Run it after an upgrade, as often as
you like; events go out whether it has run or not, and do not carry the registry's ids.
"""  # noqa: E501 - rows of a table

CONSUMERS = """\
## To a neighbouring service: the broker
[examples/consumer](../examples/consumer/README.md) is a consumer to copy: an event's `id` and its effect are committed
together, the broker is told afterwards, and what cannot be handled becomes a dead letter.

**Accounting.** The hourly seal of the ledger tells of all that was posted since the last one (`ledger.sealed`): each
transaction once, whole, in parts of up to a hundred. `python -m examples.accounting --url URL --folder books` makes
files of them, by tenant and day, a line of JSON for each posting, and their trial balance, the one that `paysaga ledger
trial-balance` shows as of the seal. `paysaga events replay --since 2026-11-20` sends again what it has missed; blocks
that were sealed before there was such an event are in `paysaga ledger transactions --csv FILE` alone.
"""

WEBHOOKS = """\
## To a shop: webhooks
A shop needs no broker. `POST /v1/webhook-endpoints` (or `paysaga webhook-endpoints create URL --tenant TENANT`) has
its events sent to a URL from then on, all or only some `types`. The answer has the secret, once. Each is a POST
with

```json
{"id": "evt_…", "type": "payment.succeeded", "version": 1, "timestamp": "2026-11-20T10:00:00.000000Z",
 "sequence": "00000000000000004711", "object_id": "pay_…", "data": {"id": "pay_…", "status": "SUCCESS"}}
```

**Verify the signature** over the bytes as they came, before reading them, by [Standard
Webhooks](https://www.standardwebhooks.com): its libraries do it, or

```python
def is_ours(headers, body: bytes, secret: str) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    ours = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    recent = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return recent and any(hmac.compare_digest(ours, one) for one in headers["webhook-signature"].split())
```

After `…/rotate` each has two signatures for 24 hours; a second rotation ends the oldest secret at once.

**Answer 2xx within 15 seconds**, and work on it afterwards. Anything else, a redirect too, is tried again after 5
s, 1, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours, up to a fifth later each; a `Retry-After` in seconds delays
that up to twice as long. After the eleventh attempt it is a dead letter, which `/v1/dead-letters` shows and tries
again. `410` disables the endpoint, and so do five days without a success. After five failures in a row it gets one
event a minute until one succeeds; then all that waits is sent.

**Duplicates**: `webhook-id` is the event's `id`, the same at every attempt. Remember those you have seen.

**Order**: events of one object are sent one after the other. An event waits for an earlier one that has failed, for
ten minutes at most, or until an endpoint that is down is back; so ignore a `sequence` below the last one of the
same `object_id`. Each event has the whole object. Of different objects any order may be.

**What was missed**: `GET …/deliveries` lists what was sent, `GET /v1/webhook-deliveries/{id}` every attempt with
its answer. `…/resend` sends one again, `…/replay` all since a moment that was not delivered: what was given up, or
came while the endpoint was disabled or not there yet. `…/test` sends a `webhook_endpoint.test`.

**Where it may lead**: https, at a public address; what is private, local or translated is 422 `url_refused`, and is
looked at again at each connection. On a developer's machine:

```sh
paysaga listen --forward-to http://127.0.0.1:9000/hooks
```

prints the events of `--tenant` (`dev`) as they happen, and sends them there, once each, signed with a secret that
it prints. `paysaga trigger payment.succeeded`, in another terminal, makes one by a payment at the sandbox.
Endpoints at `http://127.0.0.1` are taken where `PAYSAGA_WEBHOOKS_TO_LOOPBACK=true` is set, never with a live key.
"""


def files() -> dict[Path, str]:
    """Every generated file and its text."""
    schemas = {path_of(one): json.dumps(one.schema(), indent=2) + "\n" for one in event_types().values()}
    return {PAGE: page(), **schemas}


def path_of(one: EventType) -> Path:
    """The file that has the schema of a version."""
    return SCHEMAS / one.name / f"{one.version}.json"


def page() -> str:
    """The page of all events, by what they are about."""
    parts = [INTRO, BROKERS, CONSUMERS, WEBHOOKS]
    ordered = sorted(event_types().values(), key=lambda one: one.model.__name__)
    for _, group in groupby(ordered, key=lambda one: one.model):
        parts.append(_chapter(list(group)))
    return "\n".join(parts)


def _chapter(group: Sequence[EventType]) -> str:
    model = group[0].model
    title = group[0].name.partition(".")[0].replace("_", " ").capitalize()
    types = "".join(f"| `{one.name}` | {one.version} | {one.description} |\n" for one in group)
    fields = "".join(
        f"| `{field.serialization_alias or name}` | {_type(field.annotation)} | {field.description or ''} |\n"
        for name, field in model.model_fields.items()
    )
    return (
        f"## {title}\n{model.__doc__}\n\n| type | version | when |\n|---|---|---|\n{types}\n"
        f"| field | type | |\n|---|---|---|\n{fields}"
    )


def _type(annotation: Any) -> str:
    words = str(getattr(annotation, "__name__", annotation)) if isinstance(annotation, type) else str(annotation)
    for long, short in (("domain.event_data.", ""), ("domain.model.", ""), ("str", "string"), ("None", "null")):
        words = words.replace(long, short)
    return words.replace("tuple[", "list[").replace(", ...]", "]").replace("|", "or")


# --- what breaks a consumer ---


def broken(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Why a reader of the old schema would not understand what the new one allows; None: it would."""
    nameless = (json.dumps({key: value for key, value in schema.items() if key != "$id"}) for schema in (old, new))
    if not jsoncompat.check_compat(*nameless, "serializer"):
        return "it allows what a reader of the old one refuses"
    # The comparison above knows nothing of these two, so whatever changes in them counts as a break.
    if dict(_written(old)) != {place: words for place, words in _written(new) if place in dict(_written(old))}:
        return "a pattern or a format has changed"
    if any(_has(old, place) for place, _ in _written(new) if place not in dict(_written(old))):
        return "a pattern or a format was added"
    return None


def _written(schema: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(place, pattern or format) of all that are in a schema."""
    pairs: Any = ()
    if isinstance(schema, dict):
        pairs = schema.items()
    elif isinstance(schema, list):
        pairs = enumerate(schema)
    for key, value in pairs:
        if key in ("pattern", "format") and isinstance(value, str):
            yield (*place, key), value
        else:
            yield from _written(value, (*place, key))


def _has(schema: Any, place: tuple[str | int, ...]) -> bool:
    """Whether the old schema has the thing that the pattern or format is of."""
    for key in place[:-1]:
        try:
            schema = schema[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def breaks() -> list[str]:
    """Sentences about released schemas that are gone, or changed in a way that breaks a consumer."""
    known = {path_of(one): one for one in event_types().values()}
    found = []
    for path in sorted(SCHEMAS.glob("*/*.json")):
        place = path.relative_to(ROOT)
        if path not in known:
            found.append(f"{place} is released, and no event has it: a type or version is never taken back.")
            continue
        why = broken(json.loads(path.read_text(encoding="utf-8")), known[path].schema())
        if why is not None:
            found.append(f"{place}: {why}. Leave the model as it is, and add version {known[path].version + 1}.")
    return found


# --- the command ---


def main(arguments: Sequence[str]) -> int:
    """0: written, or current."""
    problems = breaks()
    if problems:
        sys.stderr.write("\n".join([*problems, ""]))
        return 1
    wanted = files()
    if "--check" not in arguments:
        for path, text in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not what the models say: run 'make docs' and commit it.\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
