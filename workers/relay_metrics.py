"""Metrics of the relay's leader and its sink, for Prometheus. A process that does not lead tells of no backlog."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import Counter, Gauge

from db.event.leader import Backlog
from domain.dead_letter import Source
from domain.message import Sink

_PENDING = Gauge("paysaga_outbox_pending", "Events that wait for a sink, counted to 10,000", ["sink"])
_OLDEST = Gauge("paysaga_outbox_oldest_seconds", "Age of the oldest event that waits for a sink", ["sink"])
_LEADER = Gauge("paysaga_relay_leader", "1: this process leads the sink", ["sink"])
_BROKER_UP = Gauge("paysaga_broker_up", "1: the leader is connected to the broker")
_DEAD_LETTERS = Gauge("paysaga_dead_letters_open", "Dead letters that wait for a person", ["source"])
_PUBLISHED = Counter("paysaga_events_published_total", "Events that a sink was given", ["sink"])


class SinkMetrics:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink.label
        _LEADER.labels(self._sink).set(0)

    @contextmanager
    def leading(self) -> Iterator[None]:
        _LEADER.labels(self._sink).set(1)
        try:
            yield
        finally:
            _LEADER.labels(self._sink).set(0)
            for gauge in (_PENDING, _OLDEST):
                gauge.remove(self._sink)
            if self._sink == Sink.BROKER.label:
                _BROKER_UP.set(0)
            else:
                _DEAD_LETTERS.clear()

    def tell(self, backlog: Backlog) -> None:
        _PENDING.labels(self._sink).set(backlog.pending)
        _OLDEST.labels(self._sink).set(backlog.oldest_s)

    @staticmethod
    def dead_letters(by_source: Mapping[Source, int]) -> None:
        """Told by the leader of the sink that every deployment has."""
        for source, number in by_source.items():
            _DEAD_LETTERS.labels(source.value).set(number)

    def published(self, number: int) -> None:
        _PUBLISHED.labels(self._sink).inc(number)

    @staticmethod
    def up(is_up: bool) -> None:
        _BROKER_UP.set(is_up)
