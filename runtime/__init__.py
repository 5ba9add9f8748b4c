"""The process and its surroundings: wiring, the Temporal client, search attributes, logs, the completion notifier."""
