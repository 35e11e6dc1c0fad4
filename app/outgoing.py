"""HTTP client for gateways, with limits of time and answer size; its errors are those of `app.outgoing_errors`.

Error messages never contain a header, a body, or the path and query of an address.

Redirects are not followed, because request headers (a session, an API key) and the body of a 307 would reach another
origin. Cookies are not stored. A proxy from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) is
used, except for loopback addresses. `.netrc` is not read. A POST is sent once, never repeated on a new connection.

A client with a `reach` is for URLs that users choose. It connects to allowed addresses only, which are checked after
the name was resolved, and directly: a proxy would resolve the name again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from app import tracing
from app.addresses import Reach
from app.outgoing_errors import (
    AddressRefused,
    AnswerTooLarge,
    BadAddress,
    ConnectionLost,
    NoAnswer,
    NotConnected,
    OutgoingError,
    UnreadableAnswer,
    translated,
)
from app.outgoing_guard import GuardedResolver, check_literal

__all__ = [
    "LARGEST_ANSWER",
    "AddressRefused",
    "Answer",
    "AnswerTooLarge",
    "BadAddress",
    "ConnectionLost",
    "HttpClient",
    "NoAnswer",
    "NotConnected",
    "OutgoingError",
    "UnreadableAnswer",
    "is_base_url",
]

LARGEST_ANSWER = 1024 * 1024
"""Most bytes that are read of an answer's body, after decompression."""
_CHUNK = 64 * 1024
_MOST_DIGITS = 9  # of a Retry-After in seconds: 31 years
_KEEPALIVE_S = 2.0  # below the 5 s after which common servers close: a request must not meet a closing connection
_HEADERS = {"User-Agent": "tallyman", "Accept-Encoding": "gzip, deflate"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: status, headers (case-insensitive names), and decompressed body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_server_error(self) -> bool:
        """Whether the status is 500 to 599."""
        return self.status // 100 == 5  # noqa: PLR2004 - the class of the status

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait before the next request (RFC 9110, Retry-After); None if there is no such header.

        A date is relative to the answer's own Date header, so that the clocks of two hosts are not compared.
        """
        said = self.headers.get("Retry-After", "").strip()
        if said.isascii() and said.isdigit():
            return float(said[:_MOST_DIGITS])
        until, sent = _date(said), _date(self.headers.get("Date", ""))
        return max(0.0, (until - sent).total_seconds()) if until and sent else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)  # "-0000" means UTC with an unknown time zone


class HttpClient:
    """The connections of one gateway. Usable in several event loops; call `aclose()` in each.

    The number of concurrent requests is not limited. `largest_answer`: most bytes of a body; `cuts`: drop the rest of a
    larger one, instead of `AnswerTooLarge`. `reach`: the addresses that may be connected to; None: all.
    """

    def __init__(self, *, largest_answer: int = LARGEST_ANSWER, cuts: bool = False, reach: Reach | None = None) -> None:
        self._largest = largest_answer
        self._cuts = cuts
        self._reach = reach
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    async def request(  # noqa: PLR0913 - each parameter is one part of a request
        self,
        method: str,
        address: str,
        *,
        timeout: float,  # noqa: ASYNC109 - the limits of connecting and of the whole differ
        headers: Mapping[str, str] | None = None,
        params: Sequence[tuple[str, str]] = (),
        json: Any = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request and read the whole answer within `timeout` seconds. Returns answers of any status.

        The limit for connecting is half of `timeout`, so that a failed connection raises `NotConnected` and not
        `NoAnswer`. `json`: an object to send as JSON. `body`: the exact bytes to send instead; `headers` then has their
        Content-Type. Within a trace (`app.tracing`) the request has its `traceparent`. Raises an `OutgoingError`.
        """
        limits = aiohttp.ClientTimeout(total=timeout, connect=timeout / 2, sock_connect=timeout / 2)
        url = _url(address)
        described = {"http.request.method": method, "server.address": url.host or ""}
        with tracing.span(method, "client", attributes=described) as span, translated():
            if self._reach:
                check_literal(self._reach, url.host or "")
            request = self._open().request(
                method,
                url,
                headers=_with_trace(headers),
                params=params or None,
                json=json,
                data=body,
                timeout=limits,
                allow_redirects=False,
                proxy=None if self._reach else _proxy(url),
            )
            async with request as response:
                if span is not None:
                    span.set_attribute("http.response.status_code", response.status)
                return Answer(response.status, response.headers, await self._body(response))

    async def aclose(self) -> None:
        """Close the connections of the running event loop. The next request opens new ones."""
        if (session := self._sessions.pop(asyncio.get_running_loop(), None)) is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        # An aiohttp session works only in the event loop that created it.
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            # No limit here: the engine limits concurrent calls by account, over all workers.
            resolver = GuardedResolver(self._reach) if self._reach else None
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, resolver=resolver)
            self._sessions[loop] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=_HEADERS, read_bufsize=_CHUNK
            )
        return self._sessions[loop]

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        # Count bytes after decompression: a few KiB of gzip can contain gigabytes.
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._largest:
                response.close()  # the rest is not read, so the connection cannot be used again
                if self._cuts:
                    return bytes(body[: self._largest])
                raise AnswerTooLarge(f"the answer is larger than {self._largest} bytes")
        return bytes(body)


def _with_trace(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    here = tracing.current()
    return headers if here is None else {"traceparent": here, **(headers or {})}


def is_base_url(text: str) -> bool:
    """Whether `text` is an http or https URL without user, query, fragment and white space."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading the port is what checks it
    except ValueError:
        return False
    is_plain = "@" not in parts.netloc and not parts.query and not parts.fragment
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and is_plain and not re.search(r"\s", text)


def _url(address: str) -> URL:
    try:
        url = URL(address)
    except ValueError:  # for example a port that is not a number, or an incomplete IPv6 address
        raise BadAddress("the address is not an http or https URL") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise BadAddress("the address is not an http or https URL")
    return url


def _proxy(url: URL) -> URL | None:
    """Return the proxy of the environment for an address; None if there is none, and for loopback addresses."""
    host = url.host or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    return URL(named if "://" in named else f"http://{named}") if named else None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
