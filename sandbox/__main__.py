"""`python -m sandbox`: run the provider until SIGTERM or SIGINT, then leave with exit code 0."""

import argparse
import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from sandbox.app import create_app
from sandbox.connection import Protocol
from sandbox.state import Sandbox

_ABOUT = "Run the Stripe-compatible provider until SIGTERM or SIGINT, then leave with exit code 0."

# Requests that a fault keeps waiting are cut off after this when the server stops.
STOP_PATIENCE_S = 1


class Server(uvicorn.Server):
    """uvicorn, except that a stop on request is not the death by a signal that uvicorn passes on."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog=os.environ.get("SANDBOX_PROGRAM", "python -m sandbox"), description=_ABOUT)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8420)
    parser.add_argument("--data", type=Path, required=True, help="SQLite file; created when missing")
    parser.add_argument("--account-key", default="sk_test_sandbox", help="secret key of the default account")
    parser.add_argument("--webhook-url", help="where the default account's events go")
    parser.add_argument("--webhook-secret", help="what the default account's events are signed with")
    parser.add_argument("--webhook-events", help="the types it is sent, with commas between them; default: all")
    parser.add_argument("--webhook-seller-events", help="the same of its connected accounts; default: as its own")
    parser.add_argument("--public-url", default="", help="how browsers reach this server; default: the Host header")
    return parser.parse_args()


def main() -> None:
    """Open the data file, apply the default account's settings, serve."""
    args = arguments()
    sandbox = Sandbox(args.data, args.account_key, args.public_url.rstrip("/"))
    account = sandbox.default_account
    if args.webhook_url is not None:
        account.settings.webhook_url = args.webhook_url or None
    if args.webhook_secret:
        account.settings.webhook_secret = args.webhook_secret
    if args.webhook_events:
        account.settings.webhook_events = args.webhook_events.split(",")
    if args.webhook_seller_events:
        account.settings.webhook_seller_events = args.webhook_seller_events.split(",")
    sandbox.accounts.save(account)
    config = uvicorn.Config(
        create_app(sandbox),
        host=args.host,
        port=args.port,
        loop="uvloop",
        http=Protocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_PATIENCE_S,
    )
    Server(config).run()


if __name__ == "__main__":
    main()
