"""Webhooks to shops: endpoints, the fan-out of events to them, deliveries and attempts."""
