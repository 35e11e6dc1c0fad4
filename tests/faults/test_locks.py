"""Row locks of other sessions delay only the events that need the rows. The test finds a seeded bug."""

from __future__ import annotations

from app import database as doors
from app.engine.batches import counters
from app.engine.queue.publish import publish
from app.logistics.jobs import get_robot_job
from app.logistics.store import ROBOT_JOBS
from app.settings import using
from tests.helpers.faults.race import Race, submitted
from tests.helpers.faults.snapshot import broken
from tests.helpers.robot_results import said, success


def test_a_locked_job_delays_no_other_job(race: Race) -> None:
    """Results of both jobs are in one batch. Those of the locked job are put aside and spend no attempt."""
    (a, of_a), (b, of_b) = submitted(race.stage, 2), submitted(race.stage, 2)
    shop = race.stage.shop
    with doors.connect(race.database.url) as holder, using(lock_patience=0.2):
        counters.lock(holder, ROBOT_JOBS, [a])
        publish(shop.connection, *[said(shop, success(item)) for item in (*of_a, *of_b)])
        _deliver(race)
        assert [get_robot_job(shop.context, job).success_count for job in (a, b)] == [0, 2]
        attempts = shop.connection.execute("SELECT args->'attempt' FROM engine.delayed WHERE args ? 'since'")
        assert attempts.fetchall() == [(0,)]
    race.stage.pass_time()
    _deliver(race)
    assert get_robot_job(shop.context, a).success_count == 2
    assert broken(shop.connection) == []


def _deliver(race: Race) -> None:
    while (hand := race.stage.take("events")) is not None:
        race.stage.deliver(hand)
