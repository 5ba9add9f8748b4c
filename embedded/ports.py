"""TCP ports: finding a free one, and saying who holds one that is taken."""

import os
import random
import socket
from collections import deque

from embedded.errors import StackError
from embedded.processes import listener_of

# Below the ranges that Linux (32768+) and macOS (49152+) take outgoing connections from, so that none of those can
# take a port between our look at it and the child's bind.
_FREE_RANGE = range(20_000, 32_000)

_CHOSEN: deque[int] = deque()
_CHOSEN_MAX = 64
"""Ports that this process chose last: descriptors of the UDP ports of the same numbers, which hold them. Nobody else
here chooses one before a server listens there, which may take seconds."""


def is_free(host: str, port: int) -> bool:
    """True if a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(0.5)
        # macOS lets a second socket bind beside a listener on all addresses: so ask first whether someone answers.
        if probe.connect_ex((_reachable(host), port)) == 0:
            return False
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections in TIME_WAIT do not count
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _reachable(host: str) -> str:
    """The address under which a listener on `host` is reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound


def local_url(host: str, port: int) -> str:
    """`http://host:port` as a browser on this machine opens it."""
    reachable = _reachable(host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody uses now, and nobody else has just chosen in this way."""
    for port in random.sample(_FREE_RANGE, 200):
        if is_free(host, port) and _choose(port):
            return port
    raise StackError("No free TCP port was found between 20000 and 32000.")


def _choose(port: int) -> bool:
    """False if another process has chosen it, or this one."""
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        held.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        return False
    _CHOSEN.append(held.detach())
    if len(_CHOSEN) > _CHOSEN_MAX:
        os.close(_CHOSEN.popleft())
    return True


def require_free(host: str, port: int, *, what: str, variable: str) -> None:
    """Raise StackError when `what` cannot have its port; `variable` is the setting that moves it."""
    if is_free(host, port):
        return
    holder = listener_of(port)
    by = f" by {holder}" if holder else ""
    raise StackError(
        f"Port {port} for {what} is already in use{by}: stop that program, or choose another port with {variable}."
    )
