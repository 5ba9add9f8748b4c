"""The second factor: time-based codes (TOTP, RFC 6238) of an app, and recovery codes for when the app is gone."""

import base64
import hashlib
import hmac
import re
import secrets
import time

import pyotp

_STEP_S = 30
_RECOVERY_CODES = 10
_ISSUER = "Paysaga"


def new_secret() -> str:
    """160 random bits in base32."""
    return pyotp.random_base32()


def uri(secret: str, name: str) -> str:
    """`otpauth://…`, as apps read it."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER)


def counter_of(secret: str, code: str) -> int | None:
    """The time step that a code is of: this one or its neighbours, as clocks differ; None: of none of them."""
    typed = code.replace(" ", "").encode()
    made, now = pyotp.TOTP(secret), int(time.time()) // _STEP_S
    good = [step for step in (now - 1, now, now + 1) if hmac.compare_digest(made.generate_otp(step).encode(), typed)]
    return max(good, default=None)


def new_recovery_codes() -> list[str]:
    """Codes of 80 random bits each, such as `k3uq-7wcd-…`: a fast hash of one is enough."""
    return ["-".join(re.findall("....", _base32(10))) for _ in range(_RECOVERY_CODES)]


def new_one_time_password() -> str:
    """100 random bits, easy to type."""
    return "-".join(re.findall(".....", _base32(13)[:20]))


def recovery_hash(code: str) -> bytes:
    """The form in which a code is stored, however it was typed."""
    return hashlib.sha256(re.sub("[^a-z0-9]", "", code.lower()).encode()).digest()


def _base32(size: int) -> str:
    return base64.b32encode(secrets.token_bytes(size)).decode().lower().rstrip("=")
