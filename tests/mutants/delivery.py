"""Mutants of deliveries: the ledger, the bisect, leases, rescues and dead letters."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CONSUME, _TEST_CONSUME = "app/engine/delivery/consume.py", "tests/engine/delivery/test_consume.py"
_APPLY, _SETTLE = "app/engine/delivery/apply.py", "app/engine/delivery/settle.py"
_LEDGER, _TEST_LEDGER = (
    "app/engine/delivery/ledger.py",
    "tests/engine/delivery/test_ledger.py tests/engine/delivery/test_consume.py",
)
_DELIVERY, _LEASE = "app/engine/queue/envelope.py", "app/engine/queue/lease.py"
_DEAD, _TEST_DEAD = (
    "app/engine/delivery/bury.py",
    "tests/engine/delivery/test_consume.py tests/engine/delivery/test_bury.py tests/engine/dead_letters/test_replay.py",
)
_RESCUE, _TEST_RESCUE = (
    "app/engine/worker/rescue.py",
    "tests/engine/worker/test_rescue.py tests/engine/worker/test_rescue_counts.py",
)
_FENCE = "app/engine/queue/job_manager.py"

_BISECT, _TEST_BISECT = "app/engine/delivery/bisect.py", "tests/engine/delivery/test_bisect.py"
_LOCKED, _TEST_LOCKED = "app/engine/delivery/locked.py", "tests/logistics/test_locked_jobs.py"
_UNKNOWN, _TEST_UNKNOWN = "app/engine/delivery/unknown.py", "tests/engine/delivery/test_unknown.py"
_REUSED, _TEST_REUSED = "app/engine/delivery/reused.py", "tests/engine/delivery/test_reused.py"
_DISTINCT, _TEST_DISTINCT = "app/engine/queue/distinct.py", "tests/engine/queue/test_distinct.py"

MUTANTS = (
    Mutant(
        _BISECT,
        "if isinstance(error, pg.QueryCanceled) or time.monotonic() > self.deadline:",
        "if time.monotonic() > self.deadline + 3600:",
        _TEST_BISECT,
        "a batch that takes too long goes back in parts",
    ),
    Mutant(
        _BISECT,
        "self._each_row(some, _set_aside(target.error))",
        "self._each_row(some, _set_aside(error))",
        _TEST_LOCKED,
        "what is set aside remembers which row is locked",
    ),
    Mutant(
        _LOCKED,
        "FOR UPDATE SKIP LOCKED)",
        "FOR UPDATE)",
        _TEST_LOCKED,
        "a row that was locked is looked at without waiting for it",
    ),
    Mutant(
        _LOCKED,
        "self._until[target] = now + _REMEMBERED_S",
        "pass",
        _TEST_LOCKED,
        "a process remembers which rows were locked",
    ),
    Mutant(
        _UNKNOWN,
        "waited(queued, out[queued], now) < patience",
        "waited(queued, out[queued], now) < 2 * patience",
        _TEST_UNKNOWN,
        "an unknown event is buried when its patience ends",
    ),
    Mutant(
        "app/engine/delivery/aside.py",
        "max(_SHORTEST_S, before.total_seconds() / 2)",
        "_SHORTEST_S",
        _TEST_UNKNOWN,
        "the delay of what is set aside grows with its wait",
    ),
    Mutant(
        _DISTINCT,
        "if _different(self._far) < len(self._far):",
        "if False:",
        _TEST_DISTINCT,
        "a long stream has no id twice",
    ),
    Mutant(
        _CONSUME,
        "limit = engine.sibling_limit.current() if siblings and delivery.attempts == 0 else 0",
        "limit = 0",
        _TEST_CONSUME,
        "single events that wait together are applied together",
    ),
    Mutant(
        _CONSUME,
        "if delivery.attempts and len(queued_events) > 1:",
        "if False:",
        "tests/engine/worker/test_rescue.py tests/engine/worker/test_rescue_counts.py tests/testing/test_engine.py",
        "what was together when its worker died is delivered one by one",
    ),
    Mutant(
        _APPLY,
        "kinds = sorted({type(event.data) for event in fresh}, key=lambda payload: payload.type)",
        "kinds = list({type(event.data): None for event in fresh})",
        "tests/engine/delivery/test_consume.py tests/testing/test_engine.py tests/logistics/test_delivered_results.py",
        "types are handled in one order everywhere",
        survives="the order matters for locks alone, and the lock() of the wiring takes them before the first handler",
    ),
    Mutant(
        _SETTLE,
        "ordering.keep_positions(connection, queued_events)\n    for queued in queued_events:",
        "for queued in queued_events:",
        "tests/engine/queue/test_ordering.py tests/engine/queue/test_ordering_positions.py",
        "an event that was put into the queue by other hands keeps its place when it is put back",
    ),
    Mutant(
        _LEDGER,
        "ON CONFLICT DO NOTHING\n    RETURNING event_id),",
        "ON CONFLICT (event_id) DO UPDATE SET applied_at = now()\n    RETURNING event_id),",
        _TEST_LEDGER,
        "an event that is delivered twice takes effect once",
    ),
    Mutant(
        _LEDGER,
        "UPDATE engine.failed_jobs dead SET resolved_at = now()",
        "UPDATE engine.failed_jobs dead SET resolved_at = NULL",
        _TEST_LEDGER,
        "no event is applied and dead",
    ),
    Mutant(
        _LEDGER,
        "IS DISTINCT FROM (e.type, e.tenantid::text, e.data)),",
        "IS NULL),",
        _TEST_REUSED,
        "an event with other data does not resolve the dead letter with its id",
    ),
    Mutant(
        _LEDGER,
        "if event_id not in others or event_id in copies",
        "if event_id not in others",
        _TEST_REUSED,
        "a copy of a dead event is applied, also behind another event with its id",
    ),
    Mutant(
        _LEDGER,
        "and not (queued.event_id in letters and differs_from_letter(letters[queued.event_id], queued))",
        "",
        _TEST_REUSED,
        "an effect with the id of a dead letter and other data is not called",
    ),
    Mutant(
        _REUSED,
        "if _differ(first.setdefault(event_id, queued), queued):",
        "if first.setdefault(event_id, queued) is None:",
        _TEST_REUSED,
        "of two events with one id that are buried together neither is lost",
    ),
    Mutant(
        _DEAD,
        "        WHERE dead.event_id = ANY(%s::uuid[])\n",
        "        WHERE num_nulls(%s::uuid[]) >= 0\n",
        "tests/faults/test_same_ids.py",
        "a letter that another delivery wrote meanwhile is changed by a copy of its event alone",
    ),
    Mutant(
        "app/engine/queue/ordering.py",
        "refused = set(refuse(early))",
        "refused = set(refuse([]))",
        _TEST_REUSED,
        "a held event is not replaced by another event with its id",
    ),
    Mutant(
        _DEAD,
        "apart = {other.queued: own_id(other.queued) for other in others}",
        "apart, others = {}, []",
        _TEST_REUSED,
        "a letter whose id another event took at the same moment is not resolved by it",
    ),
    Mutant(
        _APPLY,
        'if other.place == "dead"',
        "if False",
        _TEST_REUSED,
        "an event with the id of a dead letter does not give up the letter's position",
    ),
    Mutant(
        "app/engine/dead_letters/handover.py",
        "key = effect.key(dead) if effect.call_key else event_id",
        "key = effect.key(dead)",
        _TEST_REUSED,
        "an edit of an event with a taken id leaves the mark of the other one's call",
    ),
    Mutant(
        _DISTINCT,
        "return one.type == other.type and one.tenantid == other.tenantid and bool(one.data == other.data)",
        "return one.type == other.type and bool(one.data == other.data)",
        _TEST_LEDGER + " tests/engine/queue/test_distinct.py",
        "the same data for another tenant is another fact",
    ),
    Mutant(
        _LEASE,
        " WHERE id = %(row_id)s AND status = 'doing' AND attempts = %(attempts)s\n",
        " WHERE id = %(row_id)s AND status = 'doing'\n",
        "tests/engine/queue/test_lease.py",
        "a delivery that was rescued and taken again is not the old one's",
    ),
    Mutant(
        _LEASE,
        "WHERE id = ANY(%s) AND status = 'todo' AND attempts = 0 FOR UPDATE SKIP LOCKED) free",
        "WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED) free",
        "tests/engine/queue/test_lease.py",
        "a sibling that another worker has taken meanwhile is left to it",
    ),
    Mutant(
        _DELIVERY,
        "if len(row.args) <= SIZE_LIMIT or len(to_json(raw)) <= _limit(event):",
        "if len(row.args) <= SIZE_LIMIT:",
        _TEST_CONSUME,
        "an event within the limit is never too large, whoever stands beside it",
    ),
    Mutant(
        _DELIVERY,
        "Keep the text.\n        return [(0, None, row.args)]",
        "Keep the text.\n        raise",
        _TEST_CONSUME,
        "what Python cannot read becomes a dead letter",
    ),
    Mutant(
        _DEAD,
        " WHERE NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = r.event_id)\n",
        "",
        "tests/engine/delivery/test_bury.py",
        "an event that another delivery has applied is not buried",
    ),
    Mutant(
        _DEAD,
        "retry_count = excluded.retry_count, failed_at = now(),",
        "retry_count = excluded.retry_count,",
        _TEST_DEAD,
        "a letter that died again makes the plans of its first death stale",
    ),
    Mutant(
        _DEAD,
        "_PARTICULARS.sub('*', message)",
        "message",
        "tests/engine/delivery/test_bury.py",
        "the same failure of two events is one group",
    ),
    Mutant(
        _DEAD,
        '"retry_count": queued.attempt + 1,',
        '"retry_count": queued.attempt,',
        _TEST_DEAD,
        "a dead letter counts its deliveries",
    ),
    Mutant(
        _DEAD,
        'return "".join(traceback.format_exception(error))',
        'return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())',
        "tests/engine/delivery/test_bury.py",
        "no local variable is stored",
    ),
    Mutant(
        _RESCUE,
        "rest = [queued for queued in queued_events if rescues[id(queued)] <= most]",
        "rest = [queued for queued in queued_events if rescues[id(queued)] < most]",
        _TEST_RESCUE,
        "an event that was rescued exactly as often as allowed still waits",
    ),
    Mutant(
        _RESCUE,
        "ON CONFLICT (event_id) DO UPDATE SET rescues = greatest(c.rescues + 1, excluded.rescues),",
        "ON CONFLICT (event_id) DO UPDATE SET rescues = excluded.rescues,",
        _TEST_RESCUE,
        "rescues are counted by event, over rows",
    ),
    Mutant(
        _RESCUE,
        "       queueing_lock = NULL -- another row with this lock may be waiting already\n",
        "       queueing_lock = j.queueing_lock\n",
        _TEST_RESCUE,
        "a rescue gives up the queueing lock, which another row may hold",
    ),
    Mutant(
        _RESCUE,
        "AND status = 'failed' AND task_name <> 'prune'",
        "AND status = 'failed'",
        _TEST_RESCUE + " tests/engine/worker/test_app.py tests/engine/worker/test_prune.py",
        "a failed prune is no dead letter",
    ),
    Mutant(
        _FENCE,
        "UPDATE public.procrastinate_jobs\n   SET status = 'todo', attempts = attempts + 1, scheduled_at = %(at)s,",
        "UPDATE public.procrastinate_jobs\n   SET status = 'todo', scheduled_at = %(at)s,",
        "tests/engine/worker/test_rescue.py tests/engine/worker/test_app.py tests/faults/test_zombies.py",
        "each delivery of a row is another one",
    ),
    Mutant(
        _FENCE,
        "_PAUSES_ARE_FRESH = 0.5",
        "_PAUSES_ARE_FRESH = 1e9",
        "tests/engine/queue/test_pauses.py",
        "a worker obeys a pause within a second",
    ),
)
