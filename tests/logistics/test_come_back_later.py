"""A portal that answers with Retry-After: orders wait for that time, and spend no attempt."""

from __future__ import annotations

import pytest

from app.logistics import carriers
from app.logistics.jobs import create_robot_job
from app.outgoing import Answer
from app.simulators.portal import Portal
from app.testing import worker
from tests.helpers.explained import explain_job
from tests.helpers.robot_results import broken, items_of
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar

pytestmark = pytest.mark.usefixtures("hasty")

_WAITS = """
SELECT min(extract(epoch FROM due_at - now())), max(extract(epoch FROM due_at - now())),
       max((args->>'attempt')::integer) FROM engine.delayed WHERE queue_name = 'robots'
"""


def test_a_closed_portal_is_not_called_before_its_time(shop: Shop, portal: Portal) -> None:
    """It answers 503 with Retry-After: no call is made before, in this delivery or a later one."""
    portal.change(is_down=True, retry_after_s=600)
    job = create_robot_job(shop.context, shop.order(3))
    for _ in range(5):
        drain()
        ((soonest, latest, attempt),) = shop.connection.execute(_WAITS).fetchall()
        assert 595 < soonest <= latest < 661
        assert attempt == 0
        shop.connection.execute("DELETE FROM engine.rests")
        worker.let_time_pass(shop.connection)
    portal.change(is_down=False)
    drain_all(shop.connection)
    assert {item.status for item in items_of(shop, job.id)} == {"success"}
    assert portal.record.summary().accepted == 3
    assert broken(shop.connection) == []


def test_one_answer_delays_all_calls_of_the_account(shop: Shop, portal: Portal) -> None:
    """Also those of a later job, which `explain` shows."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=1)
    portal.change(is_down=True, retry_after_s=600)
    create_robot_job(shop.context, shop.order(2))
    drain(concurrency=1)
    portal.change(is_down=False)
    later = create_robot_job(shop.context, shop.order(2))
    drain(concurrency=1)
    assert portal.record.entries == []
    assert scalar(shop.connection, "SELECT count(*) FROM engine.rests") == 1
    sentences = [reason.sentence for reason in explain_job(shop.connection, later.id)]
    assert any("out of order for 600 s" in sentence for sentence in sentences), sentences


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 7 "}, 7.0),
        ({"Retry-After": "9" * 40}, 999_999_999.0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sat, 28 Nov 2026 10:02:00 GMT", "Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, 120.0),
        ({"Retry-After": "Sat, 28 Nov 2026 09:00:00 GMT", "Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "Sat, 28 Nov 2026 10:02:00 GMT"}, None),
        ({"Retry-After": "Sat, 28 Nov 2026 10:02:00 GMT", "Date": "today"}, None),
        ({"Retry-After": "Sat, 28 Nov 2026 10:02:00 -0000", "Date": "Sat, 28 Nov 2026 10:00:00 GMT"}, 120.0),
    ],
)
def test_how_a_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, or a date compared with the answer's own date. Anything else counts as none."""
    assert Answer(503, headers, b"").retry_after == seconds
