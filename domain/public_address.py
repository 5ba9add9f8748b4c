"""Public addresses: those that a URL of a shop's may lead to. The rest is ours, our network's, or nobody's."""

import ipaddress

_IPV6_GLOBAL = ipaddress.IPv6Network("2000::/3")
_IPV6_SPECIAL = tuple(
    ipaddress.IPv6Network(net)
    for net in (
        "2001::/23",  # protocols, Teredo among them, which lead to an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, likewise
        "3fff::/20",  # documentation
    )
)
_IPV4_SPECIAL = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocols, of which some versions of the library know a part
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4
)


def is_public(text: str) -> bool:
    """Whether a concrete address, as a socket is given it, is one of the Internet. `is_global` of the standard library
    is not enough: it is true of multicast and of IPv6 addresses that are translated to IPv4 ones."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in net for net in _IPV4_SPECIAL)
    if address.scope_id is not None or address not in _IPV6_GLOBAL:
        return False
    return address.is_global and not any(address in net for net in _IPV6_SPECIAL)
