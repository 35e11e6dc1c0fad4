"""Create, read, pause, resume and cancel collection runs. Each function is limited to the context's organisation.

`places` starts them. Lock order: places by organisation, runs by id, pages by id, items.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import events
from app.collection import accounts, budget, dead_pages, rules, settings, store
from app.collection.rules import CategoryPlan
from app.collection.settle import cancel_pending
from app.collection.store import Run
from app.context import Connection, Context
from app.engine import audit_log
from app.engine.dead_letters import closing
from app.engine.queue.publish import publish
from app.errors import Conflict, DuplicateRequest, InvalidInput, KeyReused, NotFound
from events import new_id
from events.collection import JobSubmitted

__all__ = [
    "CategoryPlan",
    "Run",
    "cancel_run",
    "create_run",
    "get_run",
    "list_runs",
    "org_of",
    "pause_run",
    "resume_run",
]


def create_run(  # noqa: PLR0913 - what a request may say
    context: Context,
    *,
    marketplace: str,
    categories: Sequence[CategoryPlan],
    created_by: UUID,
    name: str | None = None,
    idempotency_key: str | None = None,
    cap_cents: int | None = None,
    allow_over_cap: bool = False,
    unwanted: Sequence[str] = (),
) -> Run:
    """Insert a run and publish `collection/job.submitted` in one transaction. Returns the run, which is pending.

    `name`: default the date in the organisation's time zone and the first categories. `cap_cents`: the run's own cap,
    which it keeps; default the organisation's at the start. `unwanted`: ids of items and names of sellers to skip.

    Raises `InvalidInput` for an invalid value, or for an estimate above the cap unless `allow_over_cap`; `NotFound` or
    `Conflict` for a marketplace without an enabled account; `DuplicateRequest` and `KeyReused`, both with the existing
    run's id, for a key that was used before.
    """
    marketplace = rules.marketplace_name(marketplace)
    rules.check_key(idempotency_key)
    rules.check_plan(categories)
    rules.check_unwanted(unwanted)
    if cap_cents is not None:
        rules.check_cents("cap_cents", cap_cents)
    ids = [one.category_id for one in categories]
    fingerprint = rules.fingerprint(marketplace, ids, name, cap_cents, unwanted)
    with context.connection.transaction():
        _refuse_used_key(context, idempotency_key, fingerprint)
        _check_account(context, marketplace)
        if not store.is_user(context.connection, created_by):
            raise InvalidInput(f"created_by: there is no user {created_by}")
        cap = settings.get_settings(context).budget_cap_cents if cap_cents is None else cap_cents
        estimate = rules.estimated_cost(categories)
        rules.check_estimate(estimate, cap, allowed=allow_over_cap)
        run = store.insert_run(
            context,
            {
                "id": new_id(),
                "name": rules.run_name(name, store.today(context), ids),
                "marketplace": marketplace,
                "estimated_cost_cents": estimate,
                "budget_cap_cents": cap,
                "cap_override_cents": cap_cents,
                "category_ids": ids,
                "estimate": {one.category_id: one.as_json() for one in categories},
                "unwanted": sorted(set(unwanted)),
                "idempotency_key": idempotency_key,
                "request_fingerprint": fingerprint,
                "created_by": created_by,
            },
        )
        if run is None:
            # The key is taken. Only a new statement sees a row that another transaction committed meanwhile.
            _refuse_used_key(context, idempotency_key, fingerprint)
            raise Conflict(f"idempotency key {idempotency_key!r} was freed just now; submit again")
        _publish_submitted(context, run.id)
    return run


def org_of(connection: Connection, run_id: UUID) -> UUID:
    """Return the organisation of a run that the connection's role may read. Raises `NotFound`."""
    return _known(store.any_run(connection, run_id), run_id).org_id


def get_run(context: Context, run_id: UUID) -> Run:
    """Return a run. Raises `NotFound`."""
    return _known(store.run_by_id(context, run_id), run_id)


def list_runs(context: Context, *, status: str | None = None, before: UUID | None = None, limit: int = 50) -> list[Run]:
    """Return the organisation's runs, newest first, at most `limit` (at most 1000). Raises `InvalidInput`.

    `before`: the last run of the previous page.
    """
    if status is not None:
        rules.check_word(status, rules.TRANSITIONS)
    rules.check_page(limit)
    return store.select_runs(context, status=status, before=before, limit=limit)


def pause_run(context: Context, run_id: UUID, *, actor: str, reason: str | None = None) -> Run:
    """Pause a run until it is resumed. Calls that have begun are finished and booked; no other call begins.

    A run that waits for a place does not start by itself any more. Raises `NotFound`, and `Conflict`, which names the
    state, for any other run that is not running.
    """
    actor, reason = _author(actor, reason)
    with context.connection.transaction():
        run = _lock(context, run_id)
        if run.pause_reason == "place":
            store.hold(context.connection, run_id, actor)
        else:
            rules.check_transition(run_id, run.status, "paused", "paused", run.pause_reason)
            publish(context.connection, *budget.pause(context, [run_id], "user"))
            store.set_author(context.connection, [run_id], actor)
        audit_log.record(context.connection, actor, "pause run", subject=run_id, reason=reason)
    return get_run(context, run_id)


def resume_run(context: Context, run_id: UUID, *, actor: str, reason: str | None = None) -> Run:
    """Let a paused run continue from its checkpoint when a place is free. It keeps its own cap, if it has one.

    Raises `NotFound`, and `Conflict`, which names the state, for a run that is not paused or waits for a place already.
    """
    actor, reason = _author(actor, reason)
    with context.connection.transaction():
        run = _lock(context, run_id)
        if run.status != "paused" or run.pause_reason == "place":
            state = "waiting for a place already" if run.is_waiting else run.status
            raise Conflict(f"run: {run_id} is {state}: it cannot be resumed")
        store.resume(context.connection, [run_id], actor)
        audit_log.record(context.connection, actor, "resume run", subject=run_id, reason=reason)
        _publish_submitted(context, run_id)
    return get_run(context, run_id)


def cancel_run(context: Context, run_id: UUID, *, actor: str, reason: str | None = None) -> Run:
    """End a run: no further call begins, and the items so far are kept.

    Calls that have begun are finished and booked; each releases its reservation. The dead requests of the run's pages
    are resolved; for pages that may be charged, a worker asks the marketplace and books the charge. Raises `NotFound`,
    and `Conflict`, which names the state, for a run that has ended.
    """
    actor, reason = _author(actor, reason)
    with context.connection.transaction():
        dead = dead_pages.hold(context, run_id)
        run = _lock(context, run_id)
        rules.check_transition(run_id, run.status, "cancelled", "cancelled")
        cancelled = _known(store.cancel(context.connection, run_id, actor), run_id)
        publish(context.connection, budget.ended(context, cancelled), *cancel_pending(context, [run_id]))
        publish(context.connection, *dead_pages.may_be_charged(context.connection, list(dead.letters.values())))
        note = f"run cancelled by {actor}" + (f": {reason}" if reason else "")
        closing.close(context.connection, dead, "cancel run", note, actor)
        audit_log.record(context.connection, actor, "cancel run", subject=run_id, reason=reason)
    return cancelled


def _publish_submitted(context: Context, run_id: UUID) -> None:
    payload = JobSubmitted(run_id=run_id)
    publish(context.connection, events.new(payload, now=context.now, subject=run_id, tenant=context.tenant_id))


def _refuse_used_key(context: Context, key: str | None, fingerprint: str) -> None:
    """Raise `DuplicateRequest` or `KeyReused` for a key that was used before. Takes no locks."""
    if key is not None and (used := store.run_by_key(context, key)) is not None:
        if used.request_fingerprint == fingerprint:
            raise DuplicateRequest(key, used.id)
        raise KeyReused(key, used.id, "marketplace, categories, name, cap or unwanted items")


def _check_account(context: Context, marketplace: str) -> None:
    account = accounts.show_account(context, marketplace)
    if not account.is_enabled:
        raise Conflict(f"marketplace: the account with {marketplace} is disabled; `marketplaces enable {marketplace}`")


def _lock(context: Context, run_id: UUID) -> Run:
    return _known(store.lock_run(context, run_id), run_id)


def _known(run: Run | None, run_id: UUID) -> Run:
    if run is None:
        raise NotFound(f"run: {run_id} is no run of this organisation; `runs list` shows them")
    return run


def _author(actor: str, reason: str | None) -> tuple[str, str | None]:
    return audit_log.text("actor", actor), None if reason is None else audit_log.text("reason", reason)
