"""Brokers that events are published to, each behind one protocol and chosen by its URL (`registry.py`)."""
