"""Fair share: the running deliveries of one worker by tenant, and which of them must yield."""

from __future__ import annotations

from app.engine.queue.fair_share import PATIENCE_S, QUANTUM_S, FairShare, Share


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def served(clock: Clock, fair_share: FairShare, waiting: list[Share], seconds: dict[str, float], rounds: int) -> str:
    """Return the order of service if all wait all the time. `seconds`: the duration of a delivery by tenant."""
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
    """A weight of three gets three times the seconds, however long each delivery takes."""
    clock, seconds = Clock(), {"a": 1.0, "b": 1.0}
    order = served(clock, FairShare(1, clock), [Share("q", "a", 3.0), Share("q", "b", 1.0)], seconds, 40)
    assert order.count("a") == 30
    order = served(clock, FairShare(1, clock), [Share("q", "a"), Share("q", "b")], {"a": 4.0, "b": 1.0}, 50)
    assert order.count("b") == 40


def test_idle_time_earns_no_credit() -> None:
    """A returning tenant starts at the level of the others."""
    clock = Clock()
    fair_share = FairShare(1, clock)
    both = [Share("q", "a"), Share("q", "b")]
    served(clock, fair_share, both[:1], {"a": 1.0}, 100)
    order = served(clock, fair_share, both, {"a": 1.0, "b": 1.0}, 10)
    assert order.count("b") <= 6


def test_a_new_tenant_comes_before_those_that_were_served() -> None:
    """Even if they were served little."""
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


def test_accounts_share_their_tenants_deliveries() -> None:
    """Two accounts have no more than one; each has half."""
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
    """Return a worker's fair share with all deliveries taken."""
    fair_share = FairShare(len(held), clock)
    for row_id, share in enumerate(held):
        fair_share.begin(row_id, Share("q", share))
    return fair_share


def test_an_account_yields_to_another_of_its_tenant() -> None:
    """Many rows of one account do not keep the other one waiting."""
    clock = Clock()
    fair_share = full(clock, "a/1", "a/1", "a/1", "a/1")
    assert fair_share.make_room([Share("q", "a/1")]) is None
    asked = fair_share.make_room([Share("q", "a/1"), Share("q", "a/2")])
    assert asked is not None
    assert asked.share.share == "a/1"


def test_one_delivery_yields_at_a_time_unless_it_hangs() -> None:
    """A second one must yield if the first has not ended within `PATIENCE_S`."""
    clock = Clock()
    fair_share = full(clock, "a", "a", "a", "a")
    waiting = [Share("q", "a"), Share("q", "b")]
    assert fair_share.make_room(waiting) is not None
    assert fair_share.make_room(waiting) is None
    clock.now += PATIENCE_S
    assert fair_share.make_room(waiting) is not None


def test_a_delivery_runs_for_a_while_before_it_yields() -> None:
    """If no tenant exceeds its share."""
    clock = Clock()
    fair_share = full(clock, "a", "b")
    waiting = [Share("q", "a"), Share("q", "b"), Share("q", "c")]
    clock.now += QUANTUM_S / 2
    assert fair_share.make_room(waiting) is None
    clock.now += QUANTUM_S / 2
    assert fair_share.make_room(waiting) is not None


def test_rows_that_come_before_all_effects_get_a_delivery() -> None:
    """A delivery of effects yields to events, unless a delivery of events ends soon anyway."""
    clock = Clock()
    fair_share = full(clock, "a", "a")
    clock.now += QUANTUM_S
    assert fair_share.make_room([], others_wait=True) is not None
    mixed = FairShare(2, clock)
    mixed.begin(1, Share("q", "a"))
    mixed.begin(2)
    clock.now += QUANTUM_S
    assert mixed.make_room([], others_wait=True) is None
