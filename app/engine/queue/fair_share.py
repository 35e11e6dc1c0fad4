"""Fair share: the running deliveries of one worker by tenant, and which of them must yield.

A worker shares its own deliveries out among the tenants and accounts that wait (the rules are in `shares`). As every
worker does so, all of them together do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from app.engine.queue.shares import Claimant, choose_yielding, exceeds_share, next_claimant
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
class RunningDelivery:
    """A delivery of effects in hand since `began`; `asked_at` is when it was asked to make room."""

    share: Share
    began: float
    asked_at: float | None = None

    @property
    def must_yield(self) -> bool:
        """Whether it must yield: it begins no further call, and hands back what it has not begun."""
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

    def claimants(self, waiting: Iterable[Share], running: Iterable[RunningDelivery], now: float) -> list[Claimant]:
        """Everybody who waits, in the order given, and everybody who has deliveries."""
        waits = {self.key(one): self.weight(one) for one in waiting}
        mine: dict[str, list[RunningDelivery]] = {}
        for delivery in running:
            mine.setdefault(self.key(delivery.share), []).append(delivery)
        holders = {key: self.weight(deliveries[0].share) for key, deliveries in mine.items()}
        found = []
        for key, weight in (holders | waits).items():
            deliveries = mine.get(key, [])
            under_way = sum(max(EXPECTED_S, now - delivery.began) for delivery in deliveries)
            served = self.served.of(key) + under_way / weight
            has_run = any(now - delivery.began >= QUANTUM_S for delivery in deliveries)
            found.append(Claimant(key, weight, len(deliveries), key in waits, served, has_run))
        return found


class FairShare:
    """The deliveries of one worker, which takes `capacity` at once. `clock` tells seconds."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self.last_tenant = ""
        """Whose effects were taken last: the search for those that wait begins after it."""
        self.last_shares: dict[str, str] = {}
        """The share of each tenant of which a row was taken last."""
        self.rows_arrived = asyncio.Event()
        """Set when rows came into the worker's queues."""
        self._effects: dict[int, RunningDelivery] = {}
        self._others: set[int] = set()
        self._tenants = _Level(lambda share: share.tenant, lambda share: share.weight, _Served())
        self._accounts = _Level(lambda share: share.account, lambda _share: 1.0, _Served())

    @property
    def is_full(self) -> bool:
        """Whether the worker takes nothing until a delivery ends, and one of effects could be asked to."""
        return len(self._effects) + len(self._others) >= self.capacity and bool(self._not_asked())

    @property
    def in_hand(self) -> list[RunningDelivery]:
        """The deliveries of effects."""
        return list(self._effects.values())

    def of(self, row_id: int) -> RunningDelivery | None:
        """The running delivery of a row of effects; None if there is none."""
        return self._effects.get(row_id)

    def pick(self, waiting: Sequence[Share]) -> Share | None:
        """Of which share the worker takes a row now that it has a delivery free; None when none waits."""
        running = self.in_hand
        now = self._clock()
        tenant = next_claimant(self._tenants.claimants(waiting, running, now), self.capacity)
        if tenant is None:
            return None
        its = [one for one in waiting if one.tenant == tenant.key]
        same = [delivery for delivery in running if delivery.share.tenant == tenant.key]
        account = next_claimant(self._accounts.claimants(its, same, now), len(same) + 1)
        return next((one for one in its if account and one.account == account.key), None)

    def begin(self, row_id: int, share: Share | None = None) -> None:
        """A row is in hand from now on: of effects of a share, or of something else."""
        if share is None:
            self._others.add(row_id)
            return
        for level in (self._tenants, self._accounts):
            level.served.begin(level.key(share), [level.key(delivery.share) for delivery in self.in_hand])
        self.last_tenant = share.tenant
        self.last_shares.pop(share.tenant, None)
        self.last_shares[share.tenant] = share.share
        if len(self.last_shares) > _REMEMBERED:
            del self.last_shares[next(iter(self.last_shares))]
        self._effects[row_id] = RunningDelivery(share, self._clock())

    def end(self, row_id: int) -> None:
        """A row is in hand no more."""
        self._others.discard(row_id)
        delivery = self._effects.pop(row_id, None)
        if delivery is not None:
            for level in (self._tenants, self._accounts):
                level.served.end(
                    level.key(delivery.share), (self._clock() - delivery.began) / level.weight(delivery.share)
                )

    def make_room(self, waiting: Sequence[Share], *, others_wait: bool = False) -> RunningDelivery | None:
        """Ask a delivery to yield if a waiting share is owed it. Returns the delivery that was asked.

        `others_wait`: rows are due that come before all effects.
        """
        now = self._clock()
        if any(
            delivery.asked_at is not None and now - delivery.asked_at < PATIENCE_S
            for delivery in self._effects.values()
        ):
            return None  # one that was asked is about to end
        delivery = self._for_others(now) if others_wait else self._for_effects(waiting, now)
        if delivery is not None:
            delivery.asked_at = now
        return delivery

    def _for_others(self, now: float) -> RunningDelivery | None:
        # If one is not of effects, it ends soon by itself.
        return None if self._others else _longest(self._not_asked(), now - QUANTUM_S)

    def _for_effects(self, waiting: Sequence[Share], now: float) -> RunningDelivery | None:
        running = self._not_asked()
        if (delivery := _beyond(self._tenants, waiting, running, self.capacity, now)) is not None:
            return delivery
        for tenant in dict.fromkeys(delivery.share.tenant for delivery in running):
            its = [one for one in waiting if one.tenant == tenant]
            same = [delivery for delivery in running if delivery.share.tenant == tenant]
            if (delivery := _beyond(self._accounts, its, same, len(same), now)) is not None:
                return delivery
        return None

    def _not_asked(self) -> list[RunningDelivery]:
        return [delivery for delivery in self._effects.values() if not delivery.must_yield]


def _beyond(
    level: _Level, waiting: Sequence[Share], running: Sequence[RunningDelivery], capacity: int, now: float
) -> RunningDelivery | None:
    """The delivery that makes room for those that wait and have less than their share of `capacity`."""
    claimants = level.claimants(waiting, running, now)
    who = choose_yielding(claimants, capacity)
    if who is None:
        return None
    holds = [delivery for delivery in running if level.key(delivery.share) == who.key]
    return _longest(holds, now if exceeds_share(who, claimants, capacity) else now - QUANTUM_S)


def _longest(deliveries: Iterable[RunningDelivery], begun_by: float) -> RunningDelivery | None:
    return min(
        (delivery for delivery in deliveries if delivery.began <= begun_by),
        key=lambda delivery: delivery.began,
        default=None,
    )
