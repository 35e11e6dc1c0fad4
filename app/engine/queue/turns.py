"""Turns: what one worker has in hand, whose it is, and which deliveries of effects have to end early for others.

A worker shares its own deliveries out among the tenants and accounts that wait (the rules are in `shares`). As every
worker does so, all of them together do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from app.engine.queue.shares import Claimant, is_over, next_one, who_yields
from app.engine.routing import tenant_of

EXPECTED_S = 1.0
"""Seconds that a delivery is taken to last until it has lasted longer: what those that just began count."""
QUANTUM_S = 0.5
"""Seconds that a delivery runs at least before it makes room for others, unless its tenant has more than its share."""
PATIENCE_S = 1.0
"""Seconds after which another delivery is asked to end, when the one that was asked has not: its calls hang."""
_REMEMBERED = 1000
"""Tenants of which it is remembered which of their accounts was served last."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of which a row of a queue is due, or was taken, and the weight of its tenant."""

    queue_name: str
    share: str
    weight: float = 1.0

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return tenant_of(self.share)

    @property
    def account(self) -> str:
        """What tells it from the others of its tenant: the queue counts too, each is another effect's."""
        return f"{self.share} {self.queue_name}"


@dataclass(slots=True, eq=False)
class Turn:
    """A delivery of effects in hand since `began`; `asked_at` is when it was asked to make room."""

    share: Share
    began: float
    asked_at: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has to make room: it begins no further call, and hands back what it has not begun."""
        return self.asked_at is not None


@dataclass(slots=True)
class _Served:
    """Seconds of delivery that each has had, divided by its weight.

    Time that was not asked for is no credit: a tenant that comes, or comes back, begins at the level, which is what the
    one that has had least has had, of those that have deliveries.
    """

    had: dict[str, float] = field(default_factory=dict)
    level: float = 0.0

    def of(self, key: str) -> float:
        """What one has had, without the deliveries that it has now."""
        return max(self.had.get(key, 0.0), self.level)

    def begin(self, key: str, running: Iterable[str]) -> None:
        """A delivery begins beside those that are running."""
        self.level = max(self.level, min((self.of(one) for one in running), default=self.of(key)))
        # A share that has had no more than the level needs no entry.
        self.had = {one: had for one, had in self.had.items() if had > self.level}

    def end(self, key: str, seconds: float) -> None:
        """A delivery has ended, after so many seconds divided by the weight."""
        self.had[key] = self.of(key) + seconds


@dataclass(frozen=True, slots=True)
class _Level:
    """What competes: tenants, each by its weight, or the accounts of one tenant, all alike."""

    key: Callable[[Share], str]
    weight: Callable[[Share], float]
    served: _Served

    def claimants(self, waiting: Iterable[Share], running: Iterable[Turn], now: float) -> list[Claimant]:
        """Everybody who waits, in the order given, and everybody who has deliveries."""
        waits = {self.key(one): self.weight(one) for one in waiting}
        mine: dict[str, list[Turn]] = {}
        for turn in running:
            mine.setdefault(self.key(turn.share), []).append(turn)
        holders = {key: self.weight(turns[0].share) for key, turns in mine.items()}
        found = []
        for key, weight in (holders | waits).items():
            turns = mine.get(key, [])
            under_way = sum(max(EXPECTED_S, now - turn.began) for turn in turns)
            served = self.served.of(key) + under_way / weight
            has_run = any(now - turn.began >= QUANTUM_S for turn in turns)
            found.append(Claimant(key, weight, len(turns), key in waits, served, has_run))
        return found


class Turns:
    """The deliveries of one worker, which takes `capacity` at once. `clock` tells seconds."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self.last_tenant = ""
        """Whose effects were taken last: the search for those that wait begins after it."""
        self.last_shares: dict[str, str] = {}
        """The share of each tenant of which a row was taken last."""
        self.rang = asyncio.Event()
        """Set when rows came into the worker's queues."""
        self._effects: dict[int, Turn] = {}
        self._others: set[int] = set()
        self._tenants = _Level(lambda share: share.tenant, lambda share: share.weight, _Served())
        self._accounts = _Level(lambda share: share.account, lambda _share: 1.0, _Served())

    @property
    def is_full(self) -> bool:
        """Whether the worker takes nothing until a delivery ends, and one of effects could be asked to."""
        return len(self._effects) + len(self._others) >= self.capacity and bool(self._not_asked())

    @property
    def in_hand(self) -> list[Turn]:
        """The deliveries of effects."""
        return list(self._effects.values())

    def of(self, row_id: int) -> Turn | None:
        """The turn of a row of effects in hand."""
        return self._effects.get(row_id)

    def pick(self, waiting: Sequence[Share]) -> Share | None:
        """Of which share the worker takes a row now that it has a delivery free; None when none waits."""
        running = self.in_hand
        now = self._clock()
        tenant = next_one(self._tenants.claimants(waiting, running, now), self.capacity)
        if tenant is None:
            return None
        its = [one for one in waiting if one.tenant == tenant.key]
        same = [turn for turn in running if turn.share.tenant == tenant.key]
        account = next_one(self._accounts.claimants(its, same, now), len(same) + 1)
        return next((one for one in its if account and one.account == account.key), None)

    def begin(self, row_id: int, share: Share | None = None) -> None:
        """A row is in hand from now on: of effects of a share, or of something else."""
        if share is None:
            self._others.add(row_id)
            return
        for level in (self._tenants, self._accounts):
            level.served.begin(level.key(share), [level.key(turn.share) for turn in self.in_hand])
        self.last_tenant = share.tenant
        self.last_shares.pop(share.tenant, None)
        self.last_shares[share.tenant] = share.share
        if len(self.last_shares) > _REMEMBERED:
            del self.last_shares[next(iter(self.last_shares))]
        self._effects[row_id] = Turn(share, self._clock())

    def end(self, row_id: int) -> None:
        """A row is in hand no more."""
        self._others.discard(row_id)
        turn = self._effects.pop(row_id, None)
        if turn is not None:
            for level in (self._tenants, self._accounts):
                level.served.end(level.key(turn.share), (self._clock() - turn.began) / level.weight(turn.share))

    def make_room(self, waiting: Sequence[Share], *, others_wait: bool = False) -> Turn | None:
        """Ask a delivery to end early if something that waits is to have it; the turn that was asked.

        `others_wait`: rows are due that come before all effects.
        """
        now = self._clock()
        if any(turn.asked_at is not None and now - turn.asked_at < PATIENCE_S for turn in self._effects.values()):
            return None  # one that was asked is about to end
        turn = self._for_others(now) if others_wait else self._for_effects(waiting, now)
        if turn is not None:
            turn.asked_at = now
        return turn

    def _for_others(self, now: float) -> Turn | None:
        # If one is not of effects, it ends soon by itself.
        return None if self._others else _longest(self._not_asked(), now - QUANTUM_S)

    def _for_effects(self, waiting: Sequence[Share], now: float) -> Turn | None:
        running = self._not_asked()
        if (turn := _beyond(self._tenants, waiting, running, self.capacity, now)) is not None:
            return turn
        for tenant in dict.fromkeys(turn.share.tenant for turn in running):
            its = [one for one in waiting if one.tenant == tenant]
            same = [turn for turn in running if turn.share.tenant == tenant]
            if (turn := _beyond(self._accounts, its, same, len(same), now)) is not None:
                return turn
        return None

    def _not_asked(self) -> list[Turn]:
        return [turn for turn in self._effects.values() if not turn.is_over]


def _beyond(level: _Level, waiting: Sequence[Share], running: Sequence[Turn], capacity: int, now: float) -> Turn | None:
    """The delivery that makes room for those that wait and have less than their share of `capacity`."""
    claimants = level.claimants(waiting, running, now)
    who = who_yields(claimants, capacity)
    if who is None:
        return None
    holds = [turn for turn in running if level.key(turn.share) == who.key]
    return _longest(holds, now if is_over(who, claimants, capacity) else now - QUANTUM_S)


def _longest(turns: Iterable[Turn], begun_by: float) -> Turn | None:
    return min((turn for turn in turns if turn.began <= begun_by), key=lambda turn: turn.began, default=None)
