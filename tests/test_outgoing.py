"""Outgoing HTTP: limits of time and size, no redirects, cookies or retries, and errors that tell what was sent."""

from __future__ import annotations

import asyncio
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from app.addresses import Reach
from app.outgoing import (
    AddressRefused,
    AnswerTooLarge,
    BadAddress,
    ConnectionLost,
    HttpClient,
    NoAnswer,
    NotConnected,
    OutgoingError,
    UnreadableAnswer,
)

OK = b"HTTP/1.1 200 OK\r\n"
LIMIT = 100_000
SECRETS = ("token-1", "pass-1", "secret-body", "/secret-path")
Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class OtherSide:
    """A server of bytes on a loopback port. `heads`: the received requests."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.reply: Reply = self.say(OK + b"Content-Length: 2\r\n\r\nhi")
        self._server: asyncio.Server | None = None

    @staticmethod
    def say(answer: bytes) -> Reply:
        """Answer with these bytes."""

        async def reply(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await writer.drain()

        return reply

    @property
    def url(self) -> str:
        """The server's URL."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def listen(self) -> None:
        """Start."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def close(self) -> None:
        """Stop."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await self.reply(reader, writer)
                if self.heads[-1].startswith(b"POST"):  # its body is still unread
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def other() -> AsyncIterator[OtherSide]:
    """The server."""
    side = OtherSide()
    await side.listen()
    yield side
    await side.close()


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    """A client that reads at most `LIMIT` bytes."""
    client = HttpClient(largest_answer=LIMIT)
    yield client
    await client.aclose()


def zipped(size: int) -> bytes:
    """Return a number of zero bytes, compressed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = bytes(1 << 20)
    return b"".join(packer.compress(chunk) for _ in range(size >> 20)) + packer.flush()


def framed(body: bytes, *headers: bytes) -> bytes:
    """Return a complete answer with this body."""
    return OK + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_an_answer_is_returned_completely(client: HttpClient, other: OtherSide) -> None:
    """Status, headers and body, decompressed. The limit itself is allowed."""
    other.reply = other.say(framed(bytes(LIMIT), b"Retry-After: 7"))
    answer = await client.request("GET", f"{other.url}/x", timeout=5, params=[("a", "1"), ("a", "ñ")])
    assert (answer.status, answer.headers["retry-after"], len(answer.body)) == (200, "7", LIMIT)
    assert other.heads[0].startswith(b"GET /x?a=1&a=%C3%B1 HTTP/1.1")


@pytest.mark.parametrize(
    "answer",
    [
        framed(bytes(LIMIT + 1)),
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % bytes(65_536) * 4,
        OK + b"Connection: close\r\n\r\n" + bytes(LIMIT * 2),
        b"HTTP/1.1 500 No\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000),
    ],
)
async def test_an_answer_over_the_limit_is_not_read(client: HttpClient, other: OtherSide, answer: bytes) -> None:
    """In any framing and with any status. The error names the limit."""
    other.reply = other.say(answer)
    with pytest.raises(AnswerTooLarge, match=f"larger than {LIMIT} bytes") as caught:
        await client.request("POST", other.url, timeout=5, json={})
    assert caught.value.maybe_sent


async def test_a_client_can_cut_a_large_answer(other: OtherSide) -> None:
    """The rest is not read, and the status is the answer's."""
    client = HttpClient(largest_answer=1000, cuts=True)
    other.reply = other.say(framed(b"x" * 200_000))
    answer = await client.request("GET", other.url, timeout=5)
    assert (answer.status, answer.body) == (200, b"x" * 1000)
    await client.aclose()


async def test_exact_bytes_are_sent(client: HttpClient, other: OtherSide) -> None:
    """A signature covers them, so nothing may encode them again."""
    received: list[bytes] = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readexactly(8))
        await other.say(OK + b"Content-Length: 0\r\n\r\n")(reader, writer)

    other.reply = reply
    headers = {"Content-Type": "application/json"}
    await client.request("POST", other.url, timeout=5, headers=headers, body=b'{"a": 1}')
    assert received == [b'{"a": 1}']
    assert other.heads[0].lower().count(b"content-type: application/json") == 1


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("127.0.0.1", AddressRefused),
        ("localhost", AddressRefused),
        ("[::1]", AddressRefused),
        ("[::ffff:127.0.0.1]", AddressRefused),
        ("0.0.0.0", AddressRefused),  # noqa: S104 - nothing listens here
        ("169.254.169.254", AddressRefused),
        ("127.1", BadAddress),
        ("2130706433", BadAddress),
        ("0x7f.0.0.1", NotConnected),
    ],
)
async def test_a_client_with_a_reach_refuses_addresses(
    other: OtherSide, host: str, error: type[OutgoingError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Literal ones, and those that a name resolves to, in any notation. No connection is made, by no proxy either."""
    monkeypatch.setenv("http_proxy", other.url)
    client = HttpClient(reach=Reach())
    with pytest.raises(error) as caught:
        await client.request("POST", other.url.replace("127.0.0.1", host), timeout=5, json={})
    assert not caught.value.maybe_sent
    assert other.heads == []
    await client.aclose()


async def test_a_reach_with_the_network_lets_a_name_through(other: OtherSide) -> None:
    """The connection goes to the address that was checked."""
    client = HttpClient(reach=Reach.parse("127.0.0.0/8,::1/128", source="TEST"))
    answer = await client.request("GET", other.url.replace("127.0.0.1", "localhost"), timeout=5)
    assert answer.status == 200
    await client.aclose()


async def test_a_compressed_answer_is_bounded_by_what_it_grows_to(client: HttpClient, other: OtherSide) -> None:
    """200 MiB in 200 KiB of gzip are not decompressed into memory."""
    other.reply = other.say(framed(zipped(200 << 20), b"Content-Encoding: gzip"))
    tracemalloc.start()
    try:
        with pytest.raises(AnswerTooLarge):
            await client.request("GET", other.url, timeout=20)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ConnectionLost),
        (b"secret-body is no HTTP\r\n\r\n", ConnectionLost),
        (OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n", ConnectionLost),
        (OK + b"".join(b"X%d: a\r\n" % n for n in range(10_000)) + b"\r\n", ConnectionLost),
        (OK + b"Content-Length: 50\r\n\r\nsecret-body", ConnectionLost),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nsecret-body\r\n", ConnectionLost),
        (framed(b"secret-body", b"Content-Encoding: gzip"), UnreadableAnswer),
        (OK, NoAnswer),
    ],
)
async def test_a_failure_tells_whether_the_request_was_sent(
    client: HttpClient, other: OtherSide, answer: bytes, kind: type[OutgoingError]
) -> None:
    """Neither message nor stack trace has addresses, headers or bodies."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await other.say(answer)(reader, writer)
        if kind is NoAnswer:
            await reader.read(1_000_000)
            await reader.read()

    other.reply = reply
    with pytest.raises(OutgoingError) as caught:
        await client.request(
            "POST",
            f"{other.url}/secret-path?key=token-1",
            timeout=0.5 if kind is NoAnswer else 5,
            headers={"Authorization": "Bearer token-1"},
            json={"password": "pass-1"},
        )
    assert type(caught.value) is kind
    assert caught.value.maybe_sent
    stack = "".join(traceback.format_exception(caught.value)).split("Traceback")
    said = "".join(line for part in stack for line in part.splitlines() if not line.startswith("    "))
    assert not any(secret in said for secret in SECRETS)


async def test_without_a_connection_nothing_was_sent(client: HttpClient, other: OtherSide) -> None:
    """Refused, unknown host, no TLS."""
    url = other.url
    for address in (url.replace("http:", "https:"), "http://name.invalid/"):
        with pytest.raises(NotConnected) as caught:
            await client.request("POST", address, timeout=2, json={})
        assert not caught.value.maybe_sent
    await other.close()
    with pytest.raises(NotConnected):
        await client.request("POST", url, timeout=2, json={})
    await other.listen()


@pytest.mark.parametrize(
    "address", ["", "portal.example/x", "ftp://127.0.0.1/", "http://127.0.0.1:x/", "http://[::1/", "http://"]
)
async def test_a_bad_address_is_a_permanent_error(client: HttpClient, address: str) -> None:
    """Nothing was sent."""
    with pytest.raises(BadAddress) as caught:
        await client.request("GET", address, timeout=2)
    assert not caught.value.maybe_sent


async def test_no_redirect_is_followed_and_no_cookie_kept(client: HttpClient, other: OtherSide) -> None:
    """A redirect is an answer."""
    moved = b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    other.reply = other.say(moved)
    for _ in range(2):
        assert (await client.request("GET", other.url, timeout=5)).status == 307
    assert len(other.heads) == 2
    assert not any(b"cookie" in head.lower() or b"elsewhere" in head for head in other.heads)


async def test_a_request_is_sent_once(client: HttpClient, other: OtherSide) -> None:
    """If the server closes the connection under a POST, that is an error."""
    await client.request("GET", other.url, timeout=5)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    other.reply = hang_up
    with pytest.raises(ConnectionLost):
        await client.request("POST", other.url, timeout=5, json={})
    assert sum(head.startswith(b"POST") for head in other.heads) == 1


async def test_a_proxy_is_used_for_outside_addresses(
    client: HttpClient, other: OtherSide, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Loopback addresses are called directly.

    Credentials in a .netrc are never sent.
    """
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login ana password secret")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", other.url)
    monkeypatch.setenv("http_proxy", other.url)
    await client.request("GET", "http://portal.invalid/x", timeout=5)
    await client.request("GET", f"{other.url}/y", timeout=5)
    monkeypatch.setenv("no_proxy", "portal.invalid")
    with pytest.raises(NotConnected):
        await client.request("GET", "http://portal.invalid/z", timeout=5)
    lines = [head.split(b"\r\n")[0] for head in other.heads]
    assert lines == [b"GET http://portal.invalid/x HTTP/1.1", b"GET /y HTTP/1.1"]
    assert not any(b"authorization" in head.lower() for head in other.heads)


async def test_a_client_serves_two_event_loops_at_once(client: HttpClient, other: OtherSide) -> None:
    """Each has its own connections."""

    async def elsewhere() -> int:
        side = OtherSide()
        await side.listen()
        try:
            return (await client.request("GET", side.url, timeout=5)).status
        finally:
            await client.aclose()
            await side.close()

    assert (await client.request("GET", other.url, timeout=5)).status == 200
    assert await asyncio.to_thread(asyncio.run, elsewhere()) == 200
    assert (await client.request("GET", other.url, timeout=5)).status == 200
