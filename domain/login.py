"""Logging in: the names, passwords and roles of operators, and how long somebody waits who guesses."""

import re
import unicodedata
from dataclasses import dataclass

from domain.card_data import has_card_data

OPERATOR_ROLES = ("operator", "finance", "admin")
"""Of domain.access.ROLES those that a person may have: a checkout is a program, and a merchant no operator."""

_NAME = re.compile(r"[a-z][a-z0-9.-]{1,62}", re.ASCII)
"""No underscore: nobody is called as an API key is."""
NOBODY = "nobody"
"""The actor of a login that was refused: whose name was typed has not been proved."""
_TAKEN = frozenset({NOBODY, "deadline", "sweeper", "temporal", "workflow"})
"""Names under which rows say that no person did it."""

SESSION_PREFIX = "ses_"
"""What every session's token begins with."""

PASSWORD_LENGTH_MIN = 12
PASSWORD_LENGTH_MAX = 128
_DIFFERENT_MIN = 5


@dataclass(frozen=True)
class Guessing:
    """Tries that cost nothing, and the wait for each one more: 2 s, 4 s, 8 s … `wait_max_s`. One try is forgotten in
    `forget_s`."""

    free: int
    wait_max_s: float
    forget_s: float


OF_AN_ADDRESS = Guessing(free=10, wait_max_s=900.0, forget_s=300.0)
OF_A_NAME = Guessing(free=10, wait_max_s=60.0, forget_s=300.0)
"""Wherever from; short, and not for the addresses that the operator has logged in from, since a stranger causes it."""


def is_login_name(text: str) -> bool:
    """Whether somebody can be called so."""
    return _NAME.fullmatch(text) is not None and text not in _TAKEN


def login_name(text: str) -> str | None:
    """The name as it is stored; None: nobody can be called so."""
    name = text.strip().lower()
    return name if is_login_name(name) else None


def as_hashed(password: str) -> str:
    """The password in the one form in which keyboards and systems that differ write it (NFKC, NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password[: PASSWORD_LENGTH_MAX + 1])


def refused_password(password: str, name: str) -> str | None:
    """The reason against a password of one's own, as a sentence; None: it will do."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        return f"A password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters."
    if not password.isprintable() or has_card_data(password):
        return "A password has no control characters in it, and no card number."
    if name in password.lower():
        return "A password must not contain the login name."
    if len(set(password)) < _DIFFERENT_MIN:
        return f"A password has at least {_DIFFERENT_MIN} different characters."
    return None
