"""Fair share: the running deliveries of one worker by tenant, and which of them must yield.

A worker shares its own deliveries among the waiting tenants and their accounts (rules: `shares`). Every worker does the
same, so all workers together share fairly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from app.engine.queue.shares import Claimant, choose_yielding, exceeds_share, next_claimant
from app.engine.routing import tenant_of

EXPECTED_S = 1.0
"""Expected duration of a delivery in seconds. A delivery that began less than this ago counts as this long."""
QUANTUM_S = 0.5
"""Minimum seconds that a delivery runs before it must yield, unless its tenant exceeds its share."""
PATIENCE_S = 1.0
"""Seconds after which a second delivery must yield, because the calls of the first one hang."""
_REMEMBERED = 1000
"""Most tenants whose last served account is remembered."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share that has due rows in a queue, or that a row was taken from, and the weight of its tenant."""

    queue_name: str
    share: str
    weight: float = 1.0

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return tenant_of(self.share)

    @property
    def account(self) -> str:
        """The key of the account within its tenant.

        It includes the queue, because each queue belongs to another effect.
        """
        return f"{self.share} {self.queue_name}"


@dataclass(slots=True, eq=False)
class RunningDelivery:
    """A running delivery of effects.

    `began` and `asked_at` (when it was asked to yield) are seconds of the worker's clock.
    """

    share: Share
    began: float
    asked_at: float | None = None
    is_saturated: bool = False
    """Whether it takes the waiting rows of its share itself, and holds all slots that they could get."""
    wake: Callable[[], None] = field(default=lambda: None, repr=False)
    """Make the worker fetch."""

    @property
    def must_yield(self) -> bool:
        """Whether the delivery must yield: it starts no further call and requeues its remaining events."""
        return self.asked_at is not None

    def saturate(self, *, is_saturated: bool) -> None:
        """Note whether the rows of its share need no fetch. The worker fetches if they do from now on."""
        if self.is_saturated and not is_saturated:
            self.wake()
        self.is_saturated = is_saturated


@dataclass(slots=True)
class _Served:
    """Seconds of delivery that each claimant has been served, divided by its weight.

    Idle time earns no credit: a new or returning claimant starts at `level`, the smallest served time of the claimants
    with running deliveries.
    """

    had: dict[str, float] = field(default_factory=dict)
    level: float = 0.0

    def of(self, key: str) -> float:
        """Return the served seconds of a claimant, without its running deliveries."""
        return max(self.had.get(key, 0.0), self.level)

    def begin(self, key: str, running: Iterable[str]) -> None:
        """Record the start of a delivery while `running` claimants have deliveries."""
        self.level = max(self.level, min((self.of(one) for one in running), default=self.of(key)))
        # A claimant that was served no more than the level needs no entry.
        self.had = {one: had for one, had in self.had.items() if had > self.level}

    def end(self, key: str, seconds: float) -> None:
        """Record the end of a delivery after `seconds`, divided by the weight."""
        self.had[key] = self.of(key) + seconds


@dataclass(frozen=True, slots=True)
class _Level:
    """A level of competition: tenants by weight, or the accounts of one tenant with equal weights."""

    key: Callable[[Share], str]
    weight: Callable[[Share], float]
    served: _Served

    def claimants(self, waiting: Iterable[Share], running: Iterable[RunningDelivery], now: float) -> list[Claimant]:
        """Return all waiting claimants, in the order given, and all claimants with running deliveries."""
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
    """The running deliveries of one worker, at most `capacity` at once. `clock` returns seconds."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self.last_tenant = ""
        """Tenant served last. The next search for waiting tenants starts after it."""
        self.last_shares: dict[str, str] = {}
        """By tenant, the share that a row was last taken from."""
        self.last: Share | None = None
        """The share of the delivery that began last."""
        self.rows_arrived = asyncio.Event()
        """Set when rows arrive in the worker's queues."""
        self.wake: Callable[[], None] = lambda: None
        """Make the worker fetch."""
        self._effects: dict[int, RunningDelivery] = {}
        self._others: set[int] = set()
        self._tenants = _Level(lambda share: share.tenant, lambda share: share.weight, _Served())
        self._accounts = _Level(lambda share: share.account, lambda _share: 1.0, _Served())

    @property
    def is_full(self) -> bool:
        """Whether the worker is at capacity and has a delivery of effects that was not asked to yield."""
        return len(self._effects) + len(self._others) >= self.capacity and bool(self._not_asked())

    @property
    def in_hand(self) -> list[RunningDelivery]:
        """The running deliveries of effects."""
        return list(self._effects.values())

    @property
    def only(self) -> Share | None:
        """The share of all running deliveries of effects; None if there are several shares, or no delivery."""
        first, *others = dict.fromkeys(delivery.share for delivery in self._effects.values()) or [None]
        return None if others else first

    @property
    def saturated(self) -> set[Share]:
        """The shares whose rows need not be fetched, because a running delivery takes them."""
        return {delivery.share for delivery in self._not_asked() if delivery.is_saturated}

    def of(self, row_id: int) -> RunningDelivery | None:
        """Return the running delivery of a row of effects; None if there is none."""
        return self._effects.get(row_id)

    def pick(self, waiting: Sequence[Share]) -> Share | None:
        """Choose the share to fetch the next row from; None if none waits."""
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
        """Record that the delivery of a row began: of effects with a `share`, of anything else without."""
        if share is None:
            self._others.add(row_id)
            return
        for level in (self._tenants, self._accounts):
            level.served.begin(level.key(share), [level.key(delivery.share) for delivery in self.in_hand])
        self.last, self.last_tenant = share, share.tenant
        self.last_shares.pop(share.tenant, None)
        self.last_shares[share.tenant] = share.share
        if len(self.last_shares) > _REMEMBERED:
            del self.last_shares[next(iter(self.last_shares))]
        self._effects[row_id] = RunningDelivery(share, self._clock(), wake=self.wake)

    def end(self, row_id: int) -> None:
        """Record that the delivery of a row ended."""
        self._others.discard(row_id)
        delivery = self._effects.pop(row_id, None)
        if delivery is not None:
            for level in (self._tenants, self._accounts):
                level.served.end(
                    level.key(delivery.share), (self._clock() - delivery.began) / level.weight(delivery.share)
                )

    def make_room(self, waiting: Sequence[Share], *, others_wait: bool = False) -> RunningDelivery | None:
        """Choose a delivery that must yield to a waiting share, and mark it. Returns it; None if none must yield.

        `others_wait`: rows that come before all effects are due.
        """
        now = self._clock()
        if any(
            delivery.asked_at is not None and now - delivery.asked_at < PATIENCE_S
            for delivery in self._effects.values()
        ):
            return None  # a delivery that must yield is about to end
        delivery = self._for_others(now) if others_wait else self._for_effects(waiting, now)
        if delivery is not None:
            delivery.asked_at = now
        return delivery

    def _for_others(self, now: float) -> RunningDelivery | None:
        # A delivery that is not of effects ends soon without being asked.
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
    """Return the delivery that yields to waiting claimants with less than their share of `capacity`."""
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
