"""The URL that a PSP sends the buyer back to, after 3DS or from the buyer's bank: checked, and with our ids in it."""

import re
from urllib.parse import unquote_plus, urlencode

LENGTH_MAX = 1_800
"""With our ids it stays below the 2,048 characters that PSPs take."""

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Hosts that may be named without TLS: a shop that is being developed."""

_DEFAULT_PORTS = {"https": 443, "http": 80}

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[::1\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:\#(?P<fragment>.*))?",
    re.ASCII | re.IGNORECASE,
)
_WRITABLE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*", re.ASCII)
"""What a URL is made of (RFC 3986): no space, no control character, no backslash, nothing beyond ASCII."""


class ReturnUrlError(ValueError):
    """An address that no buyer is sent to; it says what is wrong with it."""


def origin_of(url: str) -> str:
    """Scheme, host and port of a return URL, as two of them are compared: `https://shop.example`, a port where it is
    not the scheme's own. Raises ReturnUrlError for what is no URL that a buyer may be sent to."""
    if not _WRITABLE.fullmatch(url):
        raise ReturnUrlError("A URL has no spaces, backslashes or letters beyond ASCII: write them as %20, %C3%BC.")
    found = _URL.fullmatch(url)
    if found is None:
        raise ReturnUrlError("A URL is such as https://shop.example/paid: scheme and host, no user and no password.")
    scheme, host, port = found["scheme"].lower(), found["host"].lower(), int(found["port"] or 0)
    if scheme == "http" and host not in _LOCAL:
        raise ReturnUrlError("A buyer is sent to https:// alone (or to http://localhost, to try it).")
    if port > 65_535:
        raise ReturnUrlError("There is no such port.")
    own_port = port in (0, _DEFAULT_PORTS[scheme])
    return f"{scheme}://{host}" if own_port else f"{scheme}://{host}:{port}"


def is_origin(text: str) -> bool:
    """Whether it is scheme, host and port and nothing behind them. Raises ReturnUrlError as `origin_of`."""
    origin_of(text)
    found = _URL.fullmatch(text)
    return found is not None and found["path"] in (None, "/") and found["query"] is None and found["fragment"] is None


def with_ids(url: str, *, payment_id: str, checkout_id: str | None) -> str:
    """The URL with `payment_id`, and `checkout_id` where there is one, behind its own query, which stays as it was
    written; parameters of these names are replaced. The fragment stays at the end."""
    ours = {"payment_id": payment_id} | ({"checkout_id": checkout_id} if checkout_id else {})
    rest, hash_sign, fragment = url.partition("#")
    path, _, query = rest.partition("?")
    theirs = [pair for pair in query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in ours]
    return f"{path}?{'&'.join([*theirs, urlencode(ours)])}{hash_sign}{fragment}"
