"""Shares: whose row a worker delivers next, and whose delivery must yield. Pure rules.

Tenants compete for the deliveries of a worker, and accounts compete within their tenant, by the same rules. A share is
a part of the deliveries in proportion to a weight. Fractions of a delivery are shared in time: of the claimants below
their share, the one that was served least comes next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Claimant:
    """A tenant or an account that has running deliveries, waiting rows, or both.

    `served`: seconds of delivery so far, divided by the weight. `has_run`: one of its deliveries has run long enough to
    yield.
    """

    key: str
    weight: float
    in_hand: int
    waits: bool
    served: float
    has_run: bool = True


def share_of(claimant: Claimant, claimants: Sequence[Claimant], capacity: int) -> float:
    """Return a claimant's share of `capacity` deliveries while all of `claimants` have work."""
    return capacity * claimant.weight / sum(one.weight for one in claimants)


def next_claimant(claimants: Sequence[Claimant], capacity: int) -> Claimant | None:
    """Choose the waiting claimant that gets the free delivery; None if none waits. The first of equals.

    Claimants that have reached their share, rounded up, come after all others.
    """

    def rank(one: Claimant) -> tuple[bool, float]:
        return one.in_hand >= _rounded_up(share_of(one, claimants, capacity)), one.served

    return min((one for one in claimants if one.waits), key=rank, default=None)


def choose_yielding(claimants: Sequence[Claimant], capacity: int) -> Claimant | None:
    """Choose the claimant that must yield a delivery while all are taken; None if none must.

    A claimant must yield if a waiting one has less than its share, rounded down but at least one delivery. Among
    the claimants above their share, rounded up, the one furthest above it yields. If none is above its share, there are
    more claimants than deliveries: among those that have run long enough, the one served most yields to one that was
    served less.
    """
    shares = {one.key: share_of(one, claimants, capacity) for one in claimants}
    short = [one for one in claimants if one.waits and one.in_hand < max(1, math.floor(shares[one.key] + _ROUNDING))]
    first = min(short, key=lambda one: one.served, default=None)
    if first is None:
        return None
    over = [one for one in claimants if exceeds_share(one, claimants, capacity)]
    if over:
        return max(over, key=lambda one: (one.in_hand - shares[one.key], one.served))
    holders = [one for one in claimants if one.in_hand and one.has_run and one.served > first.served]
    return max(holders, key=lambda one: one.served, default=None)


def exceeds_share(claimant: Claimant, claimants: Sequence[Claimant], capacity: int) -> bool:
    """Whether a claimant has more deliveries than its share, rounded up."""
    return claimant.in_hand > _rounded_up(share_of(claimant, claimants, capacity))


def _rounded_up(share: float) -> int:
    return max(1, math.ceil(share - _ROUNDING))
