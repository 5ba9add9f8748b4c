"""The embedded default: starts and supervises PostgreSQL, Temporal, the sandbox PSP, worker and API."""
