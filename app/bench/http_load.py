"""Load over HTTP: post prepared requests at a fixed pace or as fast as they are answered, on kept connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import quantiles

_HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Answers:
    """The answers to a load. `seconds`: its duration. `waited`: milliseconds of each answer. `statuses`: by number."""

    seconds: float = 0.0
    waited: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.waited) / self.seconds

    def percentiles(self) -> tuple[float, float]:
        """Return p50 and p99 of the waits, in milliseconds."""
        waited = quantiles(self.waited, n=100, method="inclusive")
        return waited[49], waited[98]

    def note(self, status: int, since: float) -> None:
        """Add an answer to a request that was due at `since`."""
        self.waited.append(1000 * (time.perf_counter() - since))
        self.statuses[status] = self.statuses.get(status, 0) + 1


def request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + _HEAD_END + body


def as_fast_as_possible(port: int, requests: Sequence[bytes], connections: int) -> Answers:
    """Post requests on `connections` connections, each one as soon as the one before it is answered."""
    return asyncio.run(_run(port, requests, connections, pace=None))


def at_a_pace(port: int, requests: Sequence[bytes], connections: int, pace: float) -> Answers:
    """Post `pace` requests a second. A wait counts from when a request was due, also if no connection was free."""
    return asyncio.run(_run(port, requests, connections, pace=pace))


async def _run(port: int, requests: Sequence[bytes], connections: int, *, pace: float | None) -> Answers:
    answers, due = Answers(), enumerate(requests)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(_post(port, due, answers, began, pace))
    answers.seconds = time.perf_counter() - began
    return answers


async def _post(
    port: int, due: Iterator[tuple[int, bytes]], answers: Answers, began: float, pace: float | None
) -> None:
    async with _connected(port) as (reader, writer):
        for number, one in due:
            since = time.perf_counter() if pace is None else began + number / pace
            await asyncio.sleep(max(0.0, since - time.perf_counter()))
            writer.write(one)
            answers.note(await _status(reader), since)


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer. Returns its status."""
    head = (await reader.readuntil(_HEAD_END)).lower()
    (length,) = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(length)
    return int(head[9:12])
