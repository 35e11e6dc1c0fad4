"""Fetch: choose the row that a worker delivers next.

Rows of effects are fetched by share: first choose a tenant among those with due rows, then one of its accounts. Other
rows are fetched as in Procrastinate, by priority and age. Rows with a higher priority than effects come before all
effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from procrastinate import connector as connectors
from procrastinate import jobs

from app.engine.domain import wiring
from app.engine.queue.fair_share import FairShare, Share
from app.engine.routing import EFFECTS_PRIORITY

OWN_TASKS = frozenset({"consume", "consume_parcel", "perform"})

_EFFECT_TASK = "perform"

_TENANTS = 16
"""Tenants that one fetch considers. The next fetch continues after them."""
_ACCOUNTS = 8
"""Accounts of each tenant that one fetch considers."""
_TRIES = 3
"""Shares to try, if other workers take the rows first, before the oldest row of all is fetched."""

# The arguments of our own tasks stay in the database: they may be long, and are read where the row is claimed.
_OF_A_SHARE = """
SELECT id, status, task_name, priority, lock, queueing_lock, scheduled_at, queue_name, attempts, worker_id,
       '{}'::jsonb AS args
  FROM engine.fetch_share(%(queue)s, %(share)s, %(worker_id)s)
"""
_OLDEST = """
SELECT id, status, task_name, priority, lock, queueing_lock, scheduled_at, queue_name, attempts, worker_id,
       CASE WHEN task_name = ANY(%(own)s) THEN '{}' ELSE args END AS args
  FROM public.procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker_id)s)
"""
_SHARE_OF = """
SELECT queue_name AS share_queue, share, engine.tenant_weight(split_part(share, '/', 1)) AS weight
  FROM (SELECT j.queue_name, engine.share(j.args) AS share FROM public.procrastinate_jobs j WHERE j.id = %(id)s) row
"""
_COMES_FIRST = """
SELECT EXISTS (SELECT FROM public.procrastinate_jobs j
                WHERE j.status = 'todo' AND j.priority > %(priority)s
                  AND (%(queues)s::varchar[] IS NULL OR j.queue_name = ANY(%(queues)s::varchar[]))
                  AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())) AS found
"""
_WAITING = """
SELECT queue_name AS share_queue, share, weight
  FROM engine.waiting_shares(%(queues)s, %(after)s, %(tenants)s, %(accounts)s, %(last)s)
 WHERE %(last_share)s::text IS NULL OR NOT engine.is_alone(%(queues)s, %(last_queue)s, %(last_share)s)
"""
# Without a row that has an id, the shares wait of which the worker chooses one.
_ROW_OR_WAITING = """
SELECT share_queue, share, weight, id, status, task_name, priority, lock, queueing_lock, scheduled_at, queue_name,
       attempts, worker_id, args
  FROM engine.fetch_effect(%(worker_id)s, %(all)s::varchar[], %(above)s, %(queues)s, %(last_queue)s, %(last_share)s,
                           %(after)s, %(tenants)s, %(accounts)s, %(last)s, %(skipped)s)
"""


async def fetch(
    connector: connectors.BaseConnector, queues: Sequence[str] | None, worker_id: int, fair_share: FairShare | None
) -> jobs.Job | None:
    """Fetch a row of `queues` (None: any) for a worker; None if there is none. Without `fair_share`: the oldest row."""
    if fair_share is None or not (effects := _effect_queues(queues)):
        return await _oldest(connector, queues, worker_id, fair_share)
    wanted = {
        **_where(effects, fair_share.last, fair_share),
        "worker_id": worker_id,
        "all": None if queues is None else list(queues),
        "above": EFFECTS_PRIORITY if _serves_others(queues) else None,
        "skipped": [share.account for share in fair_share.saturated],
    }
    found = await connector.execute_query_all_async(query=_ROW_OR_WAITING, **wanted)
    if not found:
        return None
    *_, last = found
    if last["id"] is not None:
        return await _begun(connector, last, fair_share, None if last["share"] is None else _share(last))
    job = await _of_a_share(connector, [_share(row) for row in found], worker_id, fair_share)
    if job is None and not wanted["skipped"]:
        job = await _oldest(connector, queues, worker_id, fair_share)
    return job


async def _of_a_share(
    connector: connectors.BaseConnector, waiting: list[Share], worker_id: int, fair_share: FairShare
) -> jobs.Job | None:
    for _ in range(_TRIES):
        share = fair_share.pick(waiting)
        if share is None:
            break
        chosen = {"queue": share.queue_name, "share": share.share, "worker_id": worker_id}
        row = await connector.execute_query_one_async(query=_OF_A_SHARE, **chosen)
        if row["id"] is not None:
            return await _begun(connector, row, fair_share, share)
        waiting.remove(share)
    return None


async def make_room(connector: connectors.BaseConnector, queues: Sequence[str] | None, fair_share: FairShare) -> bool:
    """Ask a delivery to yield if rows wait while the worker is at capacity. Returns whether one was asked."""
    if _serves_others(queues) and await comes_first(connector, queues):
        return fair_share.make_room([], others_wait=True) is not None
    effects = _effect_queues(queues)
    waiting = await find_waiting(connector, effects, fair_share) if effects else []
    return fair_share.make_room([one for one in waiting if one not in fair_share.saturated]) is not None


async def find_waiting(
    connector: connectors.BaseConnector, queues: Sequence[str], fair_share: FairShare
) -> list[Share]:
    """Return the shares with due rows in `queues`, starting after the tenant that was served last.

    Returns none if all running deliveries are of one share and only that share waits: no delivery must yield then.
    """
    wanted = _where(queues, fair_share.only, fair_share)
    return [_share(row) for row in await connector.execute_query_all_async(query=_WAITING, **wanted)]


def _share(row: dict[str, Any]) -> Share:
    return Share(row["share_queue"], row["share"], row["weight"])


def _where(queues: Sequence[str], alone: Share | None, fair_share: FairShare) -> dict[str, Any]:
    """Return the parameters of a search for shares. `alone`: the share that may be the only one."""
    return {
        "queues": list(queues),
        "last_queue": alone and alone.queue_name,
        "last_share": alone and alone.share,
        "after": fair_share.last_tenant,
        "tenants": _TENANTS,
        "accounts": _ACCOUNTS,
        "last": list(fair_share.last_shares.values()),
    }


async def comes_first(connector: connectors.BaseConnector, queues: Sequence[str] | None) -> bool:
    """Whether a row is due that comes before all effects."""
    wanted = {"queues": None if queues is None else list(queues), "priority": EFFECTS_PRIORITY}
    row = await connector.execute_query_one_async(query=_COMES_FIRST, **wanted)
    return bool(row["found"])


async def _oldest(
    connector: connectors.BaseConnector, queues: Sequence[str] | None, worker_id: int, fair_share: FairShare | None
) -> jobs.Job | None:
    wanted = {"queues": None if queues is None else list(queues), "worker_id": worker_id, "own": list(OWN_TASKS)}
    row = await connector.execute_query_one_async(query=_OLDEST, **wanted)
    # The function always returns a row; all its columns are null if nothing is due.
    return None if row["id"] is None else await _begun(connector, row, fair_share, None)


async def _begun(
    connector: connectors.BaseConnector, row: dict[str, Any], fair_share: FairShare | None, share: Share | None
) -> jobs.Job:
    if fair_share is not None:
        if share is None and row["task_name"] == _EFFECT_TASK:
            # It became due after the search for shares. It counts for its share like any other, and may have to yield.
            found = await connector.execute_query_all_async(query=_SHARE_OF, id=row["id"])
            share = _share(found[0]) if found else None
        fair_share.begin(row["id"], share)
    return jobs.Job.from_row(row)


def _effect_queues(queues: Sequence[str] | None) -> list[str]:
    """Return the queues of the worker that hold effects."""
    return [queue for queue in wiring().effect_queues() if queues is None or queue in queues]


def _serves_others(queues: Sequence[str] | None) -> bool:
    return queues is None or not set(queues) <= set(wiring().effect_queues())
