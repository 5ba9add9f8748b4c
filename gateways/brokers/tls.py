"""TLS to a broker, by the files that its URL names."""

import ssl
from collections.abc import Mapping

FILES = ("cafile", "certfile", "keyfile")
"""Options of a URL: the authorities (else the system's), and a certificate of ours with its key."""


def context_of(options: Mapping[str, str]) -> ssl.SSLContext:
    """Raises ValueError for a file that is not usable."""
    try:
        context = ssl.create_default_context(cafile=options.get("cafile"))
        if "certfile" in options:
            context.load_cert_chain(options["certfile"], options.get("keyfile"))
    except OSError as error:
        raise ValueError(f"a file of TLS is not usable, {error.strerror or type(error).__name__}") from error
    return context
