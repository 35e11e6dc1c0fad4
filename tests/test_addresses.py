"""Addresses that requests to other people's URLs may go to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from app.addresses import Reach, is_public
from app.errors import SetupError

PUBLIC = ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
NOT_PUBLIC = {
    "0.0.0.0": "this host",  # noqa: S104 - nothing listens here
    "10.0.0.1": "private",
    "100.64.0.1": "shared by a provider's customers",
    "127.0.0.1": "loopback",
    "127.8.9.10": "loopback",
    "169.254.169.254": "link-local: the metadata service of clouds",
    "172.16.0.1": "private",
    "192.0.2.1": "documentation",
    "192.88.99.1": "relay of 6to4",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "224.0.0.1": "multicast",
    "233.252.0.1": "multicast that some versions of Python call global",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "this host",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible",
    "::ffff:10.0.0.1": "mapped private",
    "::ffff:169.254.169.254": "mapped link-local",
    "64:ff9b::a00:1": "NAT64 of 10.0.0.1",
    "64:ff9b:1::1": "NAT64 of a local network",
    "2001::1": "Teredo",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4 of 127.0.0.1",
    "2002:101:101::": "6to4",
    "fc00::1": "private",
    "fd00:ec2::254": "private: the metadata service of a cloud",
    "fe80::1": "link-local",
    "fe80::1%1": "link-local with a zone",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_allowed(text: str) -> None:
    """Also inside a mapped or NAT64 address."""
    assert is_public(ip_address(text))
    assert Reach().allows(text)


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_every_other_address_is_refused(text: str) -> None:
    """In every notation that leads to it."""
    assert not is_public(ip_address(text))
    assert not Reach().allows(text)


def test_the_operator_allows_networks() -> None:
    """An address in one of them is allowed in each notation, and no other one."""
    reach = Reach.parse("10.1.0.0/16, ::1/128", source="TEST")
    allowed = ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "::1"]
    assert [text for text in (*allowed, "10.2.0.1", "127.0.0.1", "::2") if reach.allows(text)] == allowed
    assert Reach.parse("", source="TEST") == Reach()


@pytest.mark.parametrize("text", ["10.1.0.1/16", "localhost", "10.0.0.0/99"])
def test_a_wrong_network_is_refused_by_name(text: str) -> None:
    """The message names the setting and shows a network."""
    with pytest.raises(SetupError, match=r"TEST: must be networks such as 10\.1\.0\.0/16"):
        Reach.parse(text, source="TEST")
