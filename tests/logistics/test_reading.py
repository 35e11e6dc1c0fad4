"""Read jobs and items in pages, of the own workspace only."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from app.context import Context
from app.errors import InvalidInput, NotFound
from app.logistics import jobs
from app.logistics.jobs import create_robot_job
from tests.helpers.shops import Shop


def test_items_come_in_pages(shop: Shop) -> None:
    """Each item once, in the order of submission. The last page is marked."""
    order_ids = shop.order(7)
    job = create_robot_job(shop.context, order_ids)
    seen: list[UUID] = []
    after, sizes = None, []
    while True:
        page = jobs.get_job_with_items(shop.context, job.id, after=after, limit=3)
        seen += [item.order_id for item in page.items]
        sizes.append(len(page.items))
        if (after := page.next_after) is None:
            break
    assert (seen, sizes) == (list(order_ids), [3, 3, 1])
    whole = jobs.get_job_with_items(shop.context, job.id, limit=7)
    assert (len(whole.items), whole.next_after) == (7, None)
    assert jobs.get_job_with_items(shop.context, job.id, status="error").items == []


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_limit(shop: Shop, limit: int) -> None:
    """One to a thousand, for items and jobs."""
    job = create_robot_job(shop.context, shop.order(1))
    with pytest.raises(InvalidInput, match="limit: must be 1 to 1000"):
        jobs.get_job_with_items(shop.context, job.id, limit=limit)
    with pytest.raises(InvalidInput, match="limit: must be 1 to 1000"):
        jobs.list_jobs(shop.context, limit=limit)


def test_jobs_are_listed_newest_first_in_pages_and_by_status(shop: Shop, other: Shop) -> None:
    """Each of the workspace once."""
    create_robot_job(other.context, other.order(1))
    made_ids = [create_robot_job(shop.context, shop.order(1)).id for _ in range(5)]
    newest_first = made_ids[::-1]
    assert [job.id for job in jobs.list_jobs(shop.context)] == newest_first
    first = jobs.list_jobs(shop.context, limit=2)
    second = jobs.list_jobs(shop.context, limit=2, before=first[-1].id)
    third = jobs.list_jobs(shop.context, limit=2, before=second[-1].id)
    assert [job.id for job in first + second + third] == newest_first
    jobs.update_job_status(shop.context, made_ids[1], "processing")
    assert [job.id for job in jobs.list_jobs(shop.context, status="processing")] == [made_ids[1]]
    assert len(jobs.list_jobs(shop.context, status="pending")) == 4
    with pytest.raises(InvalidInput, match="status: 'open' is not a status"):
        jobs.list_jobs(shop.context, status="open")


DOORS: list[Callable[[Context, UUID], object]] = [
    jobs.get_robot_job,
    jobs.get_job_with_items,
    jobs.retry_failed_items,
    lambda context, job_id: jobs.update_job_status(context, job_id, "processing"),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("whose", ["another's", "nobody's"])
def test_another_workspaces_job_is_not_found(shop: Shop, other: Shop, door: Callable[..., object], whose: str) -> None:
    """By any function, like a job that does not exist. It is unchanged."""
    job = create_robot_job(other.context, other.order(1))
    job_id = job.id if whose == "another's" else uuid4()
    with pytest.raises(NotFound, match=f"job: {job_id} is no job of this workspace"):
        door(shop.context, job_id)
    assert jobs.get_robot_job(other.context, job.id) == job
