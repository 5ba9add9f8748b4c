"""`python -m db migrate|check|downgrade|seed`: the schema's owner at work. Reads PAYSAGA_DATABASE_OWNER_URL."""

import asyncio
import os
import sys

from sqlalchemy.exc import DBAPIError

from db.core.database import ConnectionRefused, unreachable
from db.core.keyring import Keyring
from db.core.migrate import grant_login, migrate
from db.seed import seed

USAGE = "usage: python -m db migrate | check | downgrade REVISION | seed KEY"


def main(arguments: list[str]) -> int:
    owner_url = os.environ.get("PAYSAGA_DATABASE_OWNER_URL", "")
    application_url = os.environ.get("PAYSAGA_DATABASE_URL", "")
    if not owner_url:
        print("PAYSAGA_DATABASE_OWNER_URL is not set.", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return _work(arguments, owner_url, application_url)
    except (OSError, DBAPIError) as error:
        refusal = unreachable(error)
        if not isinstance(refusal, ConnectionRefused):
            raise
        print(refusal.detail, file=sys.stderr)  # noqa: T201
    except ConnectionRefused as error:
        print(error.detail, file=sys.stderr)  # noqa: T201
    return 1


def _work(arguments: list[str], owner_url: str, application_url: str) -> int:
    match arguments:
        case ["migrate"]:
            asyncio.run(migrate(owner_url))
            if application_url:
                asyncio.run(grant_login(owner_url, application_url))
        case ["check"]:
            asyncio.run(migrate(owner_url, action="check"))
        case ["downgrade", revision]:
            asyncio.run(migrate(owner_url, action="downgrade", revision=revision))
        case ["seed", secret]:
            asyncio.run(seed(owner_url, secret, _keyring_of_a_mailbox()))
        case _:
            print(USAGE, file=sys.stderr)  # noqa: T201
            return 2
    return 0


def _keyring_of_a_mailbox() -> Keyring | None:
    """None where nothing is shown of what people are told."""
    keys = os.environ.get("PAYSAGA_ENCRYPTION_KEYS", "")
    return Keyring.parse(keys) if keys and os.environ.get("PAYSAGA_MAILBOX") else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
