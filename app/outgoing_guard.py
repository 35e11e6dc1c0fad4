"""The resolver of a client that may connect to allowed addresses only (`app.addresses.Reach`).

It checks the addresses that the connection then uses: a name that changes afterwards changes nothing. Literal addresses
reach no resolver: `check_literal` checks them.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from app.addresses import Reach

_MOST_LOOKUPS = 16
"""Lookups at once. They have threads of their own: a name server that does not answer delays no other work."""


class NotAllowed(OSError):
    """A host has an address that may not be connected to. The message names the host."""


class GuardedResolver(AbstractResolver):
    """Resolves names by the system's resolver, and refuses a name if one of its addresses is not allowed."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._threads = ThreadPoolExecutor(_MOST_LOOKUPS, thread_name_prefix="lookup")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`. Raises `NotAllowed`, and `OSError` for an unknown name."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        for one in found:
            _check(self._reach, host, one["host"])
        return found

    async def close(self) -> None:
        """End the threads, without waiting for lookups that no request waits for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def check_literal(reach: Reach, host: str) -> None:
    """Raise `NotAllowed` if `host` is an IP address that is not allowed. A name passes: the resolver checks it."""
    with suppress(ValueError):
        ip_address(host)
        _check(reach, host, host)


def _check(reach: Reach, host: str, address: str) -> None:
    if not reach.allows(address):
        raise NotAllowed(f"{host} has a private, local or reserved address")


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        ResolveResult(hostname=host, host=_scoped(address), port=port, family=family, proto=proto, flags=flags)
        for family, _, proto, _, address in infos
    ]


def _scoped(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    """Return the text of a socket address, with the zone of a link-local one, which no connection reaches without."""
    match address:
        case (str(host), int(), int(), int(zone)) if zone:
            return f"{host}%{zone}"
        case (host, *_):
            return str(host)
