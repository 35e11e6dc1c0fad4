"""Shares: whose effects are delivered next, and whose delivery makes room, as tables."""

from __future__ import annotations

import pytest

from app.engine import routing
from app.engine.queue.fair_share import PATIENCE_S, QUANTUM_S, FairShare, Share
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
    """A tenant or an account that competes."""
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
def test_the_next_delivery_goes_to_who_has_less_than_its_share(case: str) -> None:
    """Nobody beyond its share comes before somebody below it; of several, who was served least."""
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
def test_who_has_more_than_its_share_makes_room(case: str) -> None:
    """Only for somebody that waits with less than its share; never when alone."""
    claimants, capacity, expected = YIELDS[case]
    found = choose_yielding(claimants, capacity)
    assert (found and found.key) == expected


class Clock:
    """Seconds that pass when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def served(clock: Clock, fair_share: FairShare, waiting: list[Share], seconds: dict[str, float], rounds: int) -> str:
    """Who is served when all wait all the time and one delivery of each takes so many seconds."""
    order = ""
    for row_id in range(rounds):
        share = fair_share.pick(waiting)
        assert share is not None
        fair_share.begin(row_id, share)
        clock.now += seconds[share.tenant]
        fair_share.end(row_id)
        order += share.tenant
    return order


def test_a_single_delivery_is_shared_in_time_by_weight() -> None:
    """With one delivery at once, a weight of three is three times the seconds, however long each delivery takes."""
    clock, seconds = Clock(), {"a": 1.0, "b": 1.0}
    order = served(clock, FairShare(1, clock), [Share("q", "a", 3.0), Share("q", "b", 1.0)], seconds, 40)
    assert order.count("a") == 30
    order = served(clock, FairShare(1, clock), [Share("q", "a"), Share("q", "b")], {"a": 4.0, "b": 1.0}, 50)
    assert order.count("b") == 40


def test_who_comes_back_has_no_credit() -> None:
    """A tenant that was away does not get the time that it did not ask for."""
    clock = Clock()
    fair_share = FairShare(1, clock)
    both = [Share("q", "a"), Share("q", "b")]
    served(clock, fair_share, both[:1], {"a": 1.0}, 100)
    order = served(clock, fair_share, both, {"a": 1.0, "b": 1.0}, 10)
    assert order.count("b") <= 6


def test_who_comes_is_next_before_those_that_had_a_turn() -> None:
    """That another tenant has had a lot does not make equals of one that comes and one that has had a little."""
    clock = Clock()
    fair_share = full(clock, "a", "c")
    clock.now += 3
    fair_share.end(1)
    fair_share.begin(1, Share("q", "b"))
    clock.now += 7
    fair_share.end(0)
    fair_share.begin(0, Share("q", "a"))
    clock.now += 1
    fair_share.end(1)
    found = fair_share.pick([Share("q", "c"), Share("q", "a"), Share("q", "z")])
    assert found is not None
    assert found.share == "z"


def test_accounts_share_what_their_tenant_has() -> None:
    """A tenant with two accounts has no more than one with one; of its deliveries each account has half."""
    clock = Clock()
    fair_share = FairShare(4, clock)
    waiting = [Share("q", "a/1"), Share("q", "a/2"), Share("q", "b/1")]
    for row_id in range(4):
        share = fair_share.pick(waiting)
        assert share is not None
        fair_share.begin(row_id, share)
    held = sorted(delivery.share.share for row_id in range(4) if (delivery := fair_share.of(row_id)))
    assert held == ["a/1", "a/2", "b/1", "b/1"]


def full(clock: Clock, *held: str) -> FairShare:
    """A worker whose deliveries are all taken."""
    fair_share = FairShare(len(held), clock)
    for row_id, share in enumerate(held):
        fair_share.begin(row_id, Share("q", share))
    return fair_share


def test_an_account_makes_room_for_another_of_its_tenant() -> None:
    """A flood in one account does not keep the tenant's other account waiting."""
    clock = Clock()
    fair_share = full(clock, "a/1", "a/1", "a/1", "a/1")
    assert fair_share.make_room([Share("q", "a/1")]) is None
    asked = fair_share.make_room([Share("q", "a/1"), Share("q", "a/2")])
    assert asked is not None
    assert asked.share.share == "a/1"


def test_one_delivery_makes_room_at_a_time_unless_it_hangs() -> None:
    """A second one is asked when the first has not ended within `PATIENCE_S`."""
    clock = Clock()
    fair_share = full(clock, "a", "a", "a", "a")
    waiting = [Share("q", "a"), Share("q", "b")]
    assert fair_share.make_room(waiting) is not None
    assert fair_share.make_room(waiting) is None
    clock.now += PATIENCE_S
    assert fair_share.make_room(waiting) is not None


def test_a_turn_lasts_a_while_where_nobody_has_too_much() -> None:
    """Tenants that take turns do not interrupt each other all the time."""
    clock = Clock()
    fair_share = full(clock, "a", "b")
    waiting = [Share("q", "a"), Share("q", "b"), Share("q", "c")]
    clock.now += QUANTUM_S / 2
    assert fair_share.make_room(waiting) is None
    clock.now += QUANTUM_S / 2
    assert fair_share.make_room(waiting) is not None


def test_rows_that_come_before_all_effects_get_a_delivery() -> None:
    """Effects alone do not keep a worker from its events; where one delivery is not of effects, that one ends soon."""
    clock = Clock()
    fair_share = full(clock, "a", "a")
    clock.now += QUANTUM_S
    assert fair_share.make_room([], others_wait=True) is not None
    mixed = FairShare(2, clock)
    mixed.begin(1, Share("q", "a"))
    mixed.begin(2)
    clock.now += QUANTUM_S
    assert mixed.make_room([], others_wait=True) is None


def test_the_name_of_a_share_is_bounded() -> None:
    """It is the key of an index: no account's name makes an insertion fail."""
    assert len(routing.share_name("t", "x" * 5000)) < 160
    assert routing.share_name(None) == "-"
    assert routing.tenant_of(routing.share_name("t", "a/b")) == "t"
