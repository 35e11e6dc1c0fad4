"""Addresses that requests to URLs of other people may go to: public ones, and networks that the operator allows.

Pure: a name is resolved elsewhere (`app.outgoing`), and each address that it has is checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from app.errors import SetupError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last four bytes are an IPv4 address that the network's gateway connects to."""
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.88.99.0/24",  # RFC 7526: relays of 6to4, deprecated
        "::/96",  # RFC 4291: IPv4-compatible, deprecated
        "64:ff9b:1::/48",  # RFC 8215: NAT64 of a local network
        "2001::/32",  # RFC 4380: Teredo, with an IPv4 address inside
        "2002::/16",  # RFC 3056: 6to4, with an IPv4 address inside
        "fec0::/10",  # RFC 3879: site-local, deprecated
    )
)
"""Networks that the standard library counts as public, or did in some version, and no public server is in."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The addresses that may be connected to: every public one, and those in `networks`."""

    networks: Sequence[Network] = ()

    @classmethod
    def parse(cls, text: str, *, source: str) -> Reach:
        """Parse networks as `10.1.0.0/16,::1/128`. Raises `SetupError`, whose message names `source`."""
        try:
            return cls(tuple(ip_network(one.strip()) for one in text.split(",") if one.strip()))
        except ValueError as error:
            raise SetupError(f"{source}: must be networks such as 10.1.0.0/16, comma-separated: {error}") from None

    def allows(self, text: str) -> bool:
        """Whether the IP address `text` may be connected to. Raises `ValueError` if it is not an IP address."""
        address = _inner(ip_address(text))
        return is_public(address) or any(address in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Whether a server of the public internet can have this address.

    False for private, shared, loopback, link-local (with the metadata services of clouds), multicast, reserved and
    unspecified addresses, and for IPv6 addresses that lead to such an IPv4 address.
    """
    address = _inner(address)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def _inner(address: Address) -> Address:
    """Return the IPv4 address that a mapped or NAT64 address connects to; any other address unchanged."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(address.packed[-4:])
    return address
