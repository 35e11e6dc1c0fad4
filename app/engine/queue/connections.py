"""Connection counts of a worker process, for planning `max_connections`.

| kind | idle | at most |
| --- | --- | --- |
| session whose advisory lock shows that the process runs | 1 | 1 |
| LISTEN, for each worker of the process | 1 | 1 |
| Procrastinate's pool: fetch, heartbeat, finish | 2 | 8 |
| pool of deliveries, of total concurrency c | 1 | 2c + 3 |

A pool closes surplus connections after ten idle minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

QUEUE_POOL = (2, 8)
"""Minimum and maximum size of Procrastinate's pool."""
_SESSION = 1
_LISTEN = 1


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections of a process: `idle` without work, `most` at full load."""

    idle: int
    most: int


def deliveries(concurrency: int) -> tuple[int, int]:
    """Return the minimum and maximum size of the pool of deliveries, for `concurrency` parallel deliveries.

    A delivery uses up to two connections: one of them records outcomes while calls run.
    """
    return 1, 2 * concurrency + 3


def of_process(concurrencies: Sequence[int]) -> Connections:
    """Return the connections of a process, from the concurrency of each of its workers."""
    fixed = _SESSION + _LISTEN * len(concurrencies)
    pools = [QUEUE_POOL, deliveries(sum(concurrencies))]
    return Connections(fixed + sum(least for least, _ in pools), fixed + sum(most for _, most in pools))
