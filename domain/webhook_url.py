"""URLs that a shop's webhooks are sent to, as they are written. Where a name leads is looked at when it is resolved."""

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from domain.public_address import is_public

LENGTH_MAX = 2_000
_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?")
_LOOPBACK = "127.0.0.1"


class WebhookUrlError(ValueError):
    """A URL that no webhook is sent to, and why."""


class Target(NamedTuple):
    """The host and port behind a URL. `loopback`: it is this machine, as a developer's settings allow."""

    host: str
    port: int
    loopback: bool


def target_of(url: str, *, loopback: bool) -> Target:
    """The target of a URL that may be sent to: https, at a name or a public address; with `loopback` also
    http://127.0.0.1. Raises WebhookUrlError."""
    if len(url) > LENGTH_MAX or not url.isascii() or not url.isprintable() or re.search(r'[\s\\"<>^`{|}]', url):
        raise WebhookUrlError(f"a URL has at most {LENGTH_MAX} characters, all of ASCII and none of them a blank")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise WebhookUrlError("it cannot be read as a URL") from None
    if "@" in parts.netloc:
        raise WebhookUrlError("a user or password in it would be kept in clear")
    if parts.fragment or url.endswith("#"):
        raise WebhookUrlError("what follows a # is never sent")
    if loopback and parts.scheme == "http" and host == _LOOPBACK:
        return Target(host, 80 if port is None else port, loopback=True)
    if parts.scheme != "https":
        raise WebhookUrlError("it begins with https://")
    if port == 0:
        raise WebhookUrlError("there is no port 0")
    _check_host(host)
    return Target(host, 443 if port is None else port, loopback=False)


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        _check_name(host)
    else:
        if not is_public(host):
            raise WebhookUrlError(NOT_PUBLIC)


NOT_PUBLIC = "its address is not a public one"


def _check_name(host: str) -> None:
    if not _NAME.fullmatch(host):
        raise WebhookUrlError("its host is neither a name nor an address")
    try:
        socket.inet_aton(host)  # reads what C programs take for an address: 2130706433, 0x7f.1, 127.1
    except OSError:
        if host.rstrip(".").rpartition(".")[2].isdecimal():
            raise WebhookUrlError("its host is neither a name nor an address") from None
    else:
        raise WebhookUrlError("its host is a number, which is read differently by different programs")
