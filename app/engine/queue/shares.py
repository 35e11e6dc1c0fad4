"""Shares: whose effects a worker delivers next, and whose delivery makes room for others. Pure rules.

Tenants compete for the deliveries of a worker, and within a tenant its accounts do; both by the same rules. A share is
a part of the deliveries in proportion to a weight. Fractions of a delivery are shared in time: of those that have
less than their share, the one that was served least comes next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Claimant:
    """A tenant or an account that has deliveries in hand, or waits for one, or both.

    `served` is how many seconds of delivery it has had, divided by its weight; `has_run` tells whether a delivery of it
    has been running for long enough to yield.
    """

    key: str
    weight: float
    in_hand: int
    waits: bool
    served: float
    has_run: bool = True


def share_of(claimant: Claimant, claimants: Sequence[Claimant], capacity: int) -> float:
    """The part of `capacity` deliveries that is a claimant's while all of `claimants` have something to do."""
    return capacity * claimant.weight / sum(one.weight for one in claimants)


def next_claimant(claimants: Sequence[Claimant], capacity: int) -> Claimant | None:
    """Who gets the delivery that is free; None when nobody waits. The first of equals.

    Nobody who already has its share, rounded up, comes before one that has not.
    """

    def rank(one: Claimant) -> tuple[bool, float]:
        return one.in_hand >= _rounded_up(share_of(one, claimants, capacity)), one.served

    return min((one for one in claimants if one.waits), key=rank, default=None)


def choose_yielding(claimants: Sequence[Claimant], capacity: int) -> Claimant | None:
    """Who gives up a delivery when all are taken; None when nobody has to.

    Somebody has to if one that waits has less than its share, rounded down but at least one delivery. Then it is
    the one that holds most beyond its own share. Where nobody does, there are more claimants than deliveries: of those
    that have run for a while the one that was served most makes room for one that was served less.
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
    """Whether a claimant holds more than its share, rounded up."""
    return claimant.in_hand > _rounded_up(share_of(claimant, claimants, capacity))


def _rounded_up(share: float) -> int:
    return max(1, math.ceil(share - _ROUNDING))
