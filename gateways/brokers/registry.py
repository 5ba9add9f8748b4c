"""Which broker a URL names. A broker's client is imported where its URL is used, and is an extra of its own."""

from urllib.parse import urlsplit

from gateways.brokers.protocol import Broker


def open_broker(url: str) -> Broker:
    """Nothing is connected yet. Raises ValueError for a scheme that nobody speaks and for options that its broker does
    not know, ImportError where its extra is not installed."""
    scheme = urlsplit(url).scheme
    if scheme in ("nats", "tls"):
        from gateways.brokers.nats import Nats

        return Nats(url)
    if scheme in ("kafka", "kafka+ssl"):
        from gateways.brokers.kafka import Kafka

        return Kafka(url)
    if scheme in ("amqp", "amqps"):
        from gateways.brokers.rabbitmq import RabbitMq

        return RabbitMq(url)
    raise ValueError("no broker has such a URL")
