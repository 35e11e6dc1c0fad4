"""A client of server-sent events over a plain socket, so that a test decides how it reads and how it leaves."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from tests.helpers.waits import LIMIT_S
from tests.helpers.web import bearer


@dataclass(frozen=True, slots=True)
class Event:
    """An event, or a comment: then `name` is `:`."""

    name: str
    id: str | None = None
    data: Any = None


class Listener:
    """One open stream. All of its events are awaited for `LIMIT_S` at most."""

    def __init__(self, client: httpx.Client, path: str, headers: Mapping[str, str], buffer: int | None = None) -> None:
        """Send the request. `buffer`: bytes that the kernel keeps for a client that does not read."""
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._end = time.monotonic() + LIMIT_S
        self.socket.settimeout(LIMIT_S)
        self.socket.connect((client.base_url.host, client.base_url.port))
        fields = [f"{name}: {value}" for name, value in headers.items()]
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", *fields]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._text = ""

    def status(self) -> int:
        """Read the head of the answer. Returns its status."""
        head = self._until("\r\n\r\n")
        assert "content-type: text/event-stream" in head.lower(), head
        return int(head.split()[1])

    def next(self) -> Event | None:
        """Return the next event or comment that says anything. None at the end of a complete answer."""
        while (chunk := self._chunk()) is not None:
            if chunk.startswith(":"):
                return Event(":", data=chunk)
            fields: dict[str, str] = {}
            for line in chunk.split("\n"):
                name, _, fields[name] = line.partition(": ")
            if "event" in fields:
                return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))
        return None

    def rest(self) -> list[Event]:
        """Return all events until the end of the answer."""
        return list(iter(self.next, None))

    def reset(self) -> None:
        """Vanish: the kernel sends a reset and forgets the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _chunk(self) -> str | None:
        size = int(self._until("\r\n"), 16)
        if not size:
            return None
        while len(self._text) < size + 2:
            self._more()
        chunk, self._text = self._text[:size].strip(), self._text[size + 2 :]
        return chunk

    def _until(self, end: str) -> str:
        while end not in self._text:
            self._more()
        before, _, self._text = self._text.partition(end)
        return before

    def _more(self) -> None:
        # In all, not for each read: comments keep coming.
        self.socket.settimeout(max(0.01, self._end - time.monotonic()))
        data = self.socket.recv(65536)
        assert data, "the connection was closed within the answer"
        self._text += data.decode("ascii")


@contextmanager
def listening(
    client: httpx.Client, path: str, person: UUID, *, after: str | None = None, **headers: str
) -> Iterator[Listener]:
    """Open a stream as a person. `after`: the id of the last event. Fails unless it is answered with 200."""
    last = {} if after is None else {"Last-Event-ID": after}
    listener = Listener(client, path, {**bearer(person), **last, **headers})
    try:
        assert listener.status() == 200
        yield listener
    finally:
        listener.socket.close()
