"""Connections: how many a worker process takes, so that `max_connections` can be planned.

| kind | idle | at most |
| --- | --- | --- |
| session that shows that the process lives | 1 | 1 |
| LISTEN, for each worker of the process | 1 | 1 |
| Procrastinate's pool: fetch, heartbeat, finish | 2 | 8 |
| pool of deliveries, of total concurrency c | 1 | 2c + 3 |

A pool that has grown gives its connections up again after ten idle minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

QUEUE_POOL = (2, 8)
"""Procrastinate's pool, at least and at most."""
_SESSION = 1
_LISTEN = 1


@dataclass(frozen=True, slots=True)
class Connections:
    """How many connections a process has when nothing is to be done, and at most."""

    idle: int
    most: int


def deliveries(concurrency: int) -> tuple[int, int]:
    """The pool of deliveries, at least and at most: two a delivery, of which one records outcomes beside calls."""
    return 1, 2 * concurrency + 3


def of_process(concurrencies: Sequence[int]) -> Connections:
    """The connections of a process whose workers have these concurrencies."""
    fixed = _SESSION + _LISTEN * len(concurrencies)
    pools = [QUEUE_POOL, deliveries(sum(concurrencies))]
    return Connections(fixed + sum(least for least, _ in pools), fixed + sum(most for _, most in pools))
