"""The embedded default: starts and supervises PostgreSQL, Temporal, NATS, the sandbox PSP, worker and API."""
