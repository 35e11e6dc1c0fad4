"""Shares: which claimant is served next, and which one must yield, as tables."""

from __future__ import annotations

import pytest

from app.engine.queue.shares import Claimant, choose_yielding, next_claimant


def claimant(
    key: str,
    in_hand: int = 0,
    *,
    waits: bool = True,
    weight: float = 1.0,
    served: float = 0.0,
    has_run: bool = True,
) -> Claimant:
    """Return a tenant or an account that competes."""
    return Claimant(key, weight, in_hand, waits, served, has_run)


NEXT = {
    "nobody waits": ([claimant("a", 2, waits=False)], 4, None),
    "alone takes everything": ([claimant("a", 3, served=99)], 4, "a"),
    "who has its share comes after who has not": ([claimant("a", 2), claimant("b", 1, served=50)], 4, "b"),
    "who was served least": ([claimant("a", 1, served=3), claimant("b", 1, served=2)], 4, "b"),
    "the first of equals": ([claimant("a"), claimant("b")], 4, "a"),
    "a share by weight": ([claimant("a", 2, weight=3, served=9), claimant("b", 1)], 4, "a"),
    "a share is at least one delivery": ([claimant("a", 1, served=0), claimant("b", 0, weight=0.01, served=9)], 1, "b"),
    "whoever has what is left over": ([claimant("a", 2), claimant("b", 2, waits=False)], 5, "a"),
}


@pytest.mark.parametrize("case", NEXT)
def test_the_next_delivery_goes_to_a_claimant_below_its_share(case: str) -> None:
    """Of several, to the one that was served least."""
    claimants, capacity, expected = NEXT[case]
    found = next_claimant(claimants, capacity)
    assert (found and found.key) == expected


YIELDS = {
    "alone keeps everything": ([claimant("a", 4)], 4, None),
    "nobody waits": ([claimant("a", 3, waits=False), claimant("b", 1, waits=False)], 4, None),
    "beyond its share": ([claimant("a", 4), claimant("b")], 4, "a"),
    "beyond its share, though served less": ([claimant("a", 4), claimant("b", served=9)], 4, "a"),
    "the furthest beyond": ([claimant("a", 3), claimant("b", 5), claimant("c")], 8, "b"),
    "in balance": ([claimant("a", 2), claimant("b", 2)], 4, None),
    "a fraction of a delivery is no reason": ([claimant("a", 2), claimant("b", 1), claimant("c", 1)], 4, None),
    "a fraction of a delivery is no reason for a turn either": (
        [claimant("a", 2, served=9), claimant("b", 1), claimant("c", 1, served=9)],
        4,
        None,
    ),
    "in balance by weight": ([claimant("a", 3, weight=3), claimant("b", 1)], 4, None),
    "beyond its weight": ([claimant("a", 4, weight=3), claimant("b")], 4, "a"),
    "more tenants than deliveries take turns": (
        [claimant("a", 1, served=3), claimant("b", 1, served=4), claimant("c", served=1)],
        2,
        "b",
    ),
    "of those that have run for a while": (
        [claimant("a", 1, served=3), claimant("b", 1, served=4, has_run=False), claimant("c", served=1)],
        2,
        "a",
    ),
    "beyond its share at once": ([claimant("a", 4, has_run=False), claimant("b")], 4, "a"),
    "who was served more does not ask for a turn": ([claimant("a", 1, served=3), claimant("b", served=5)], 1, None),
}


@pytest.mark.parametrize("case", YIELDS)
def test_a_claimant_above_its_share_yields(case: str) -> None:
    """Only to one that waits with less than its share."""
    claimants, capacity, expected = YIELDS[case]
    found = choose_yielding(claimants, capacity)
    assert (found and found.key) == expected
