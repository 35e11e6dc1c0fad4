"""Mutants of publishing, sequences, pauses, pruning and the readers of the ledger."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_PUBLISH = "app/engine/queue/publish.py"
_SEQUENCE = "app/engine/queue/ordering.py"
_SEQUENCE_TESTS = "tests/engine/queue/test_ordering.py tests/engine/queue/test_ordering_positions.py"
_PRUNE, _TEST_PRUNE = "app/engine/worker/prune.py", "tests/engine/worker/test_prune.py"
_PAUSES, _TEST_PAUSES = "app/engine/queue/pauses.py", "tests/engine/queue/test_pauses.py"
_TAIL, _TEST_TAIL = "app/engine/inspect/tail.py", "tests/engine/inspect/test_tail.py"

MUTANTS = (
    Mutant(
        "app/engine/health/event_types.py",
        "AND e.event ->> 'type' <> ALL (%(served)s)",
        "",
        "tests/engine/health/test_event_types.py",
        "the doctor names no waiting event that a domain serves",
    ),
    Mutant(
        "app/engine/health/event_types.py",
        "if getattr(own, field.name) != getattr(row, field.name)",
        "if field.name == 'queue_name' and own.queue_name != row.queue_name",
        "tests/engine/health/test_event_types.py",
        "the doctor finds each column that differs",
    ),
    Mutant(
        _PUBLISH,
        "if len(text) > SIZE_LIMIT and len(text) > KINDS[event.type].size_limit:",
        "if len(text) > 4 * SIZE_LIMIT:",
        "tests/events tests/engine/worker/test_app.py tests/engine/queue/test_publish.py",
        "an event that is too large is refused before anything is published",
    ),
    Mutant(
        _PUBLISH,
        'if b"\\\\u0000" in text:',
        'if b"\\\\u0001" in text:',
        "tests/events tests/engine/worker/test_app.py tests/engine/queue/test_publish.py",
        "a NUL character is refused with the event's id",
    ),
    Mutant(
        _PUBLISH,
        """return f',"delay":{wait.delay:.3f}{parked}' if wait.delay >= _SHORTEST_DELAY_S else \"\"""",
        'return ""',
        "tests/engine/queue/test_delays.py",
        "what is published for later waits",
    ),
    Mutant(
        _PUBLISH,
        "size = min(batch_size or route.batch_size, route.batch_size)",
        "size = batch_size or route.batch_size",
        "tests/engine/worker/test_app.py tests/engine/queue/test_publish.py tests/test_wiring.py",
        "no row carries more events than the wiring allows",
    ),
    Mutant(
        _SEQUENCE,
        "if event.subject is None:\n            raise InvalidEvent(",
        "if False:\n            raise InvalidEvent(",
        _SEQUENCE_TESTS,
        "a sequenced event needs a subject",
    ),
    Mutant(
        _SEQUENCE,
        "now = [queued for queued in sequenced if queued not in out_of_order]",
        "now = sequenced",
        _SEQUENCE_TESTS,
        "an event that is delivered before its turn is not applied",
    ),
    Mutant(
        _SEQUENCE,
        "*sorted(now, key=",
        "*now] or [*sorted(now, key=",
        _SEQUENCE_TESTS,
        "what is delivered together is applied in order",
    ),
    Mutant(
        _SEQUENCE,
        "connection.execute(_JOIN, [_names(_events(sequenced))])",
        "pass",
        "tests/engine/queue/test_ordering.py tests/engine/queue/test_ordering_positions.py"
        " tests/engine/queue/test_ordering_model.py",
        "an event that is put back or buried keeps its place",
    ),
    Mutant(
        "app/engine/dead_letters/plan.py",
        "WHERE q.plan_id = %(plan)s AND q.letter_id = f.id)",
        "WHERE false)",
        _SEQUENCE_TESTS + " tests/engine/dead_letters/test_replay.py",
        "an event that is replayed together with the one before it is not in its way",
    ),
    Mutant(
        _PRUNE,
        """                    AND NOT EXISTS (SELECT FROM engine.failed_jobs f
                                     WHERE f.event_id = old.event_id AND f.resolved_at IS NULL)))""",
        "))",
        _TEST_PRUNE,
        "the mark of a call survives while its event is dead, also after an earlier resolution",
    ),
    Mutant(
        _PRUNE,
        "old.applied_at < now() - %(days)s * interval '1 day'",
        "old.occurred_at < now() - %(days)s * interval '1 day'",
        _TEST_PRUNE,
        "the ledger keeps an event for as long after it was applied",
    ),
    Mutant(
        _PRUNE,
        "old.status IN ('succeeded', 'cancelled', 'aborted')",
        "old.status IN ('succeeded', 'cancelled', 'aborted', 'failed')",
        _TEST_PRUNE,
        "rows that failed are left for the sweep",
    ),
    Mutant(
        _PRUNE,
        "if count < _BATCH:",
        "if True:",
        _TEST_PRUNE,
        "prune goes on until nothing is past its time",
    ),
    Mutant(
        _PAUSES,
        "connection.execute(_WAKE, [queue])",
        "pass",
        _TEST_PAUSES,
        "a queue that is resumed is served at once",
    ),
    Mutant(
        _PAUSES,
        'audit_log.record(connection, actor, "resume", subject=queue, reason=reason, details=since)',
        "pass",
        _TEST_PAUSES,
        "resuming is on record",
    ),
    Mutant(
        _PAUSES,
        "if made.is_new:",
        "if True:",
        _TEST_PAUSES,
        "a pause that is repeated is on record once",
    ),
    Mutant(
        _TAIL,
        "low = max(self.low, min([snapshot.at, *running.values()]) - _SLACK)",
        "low = snapshot.at",
        _TEST_TAIL,
        "what a long transaction commits late is shown",
    ),
    Mutant(
        _TAIL,
        "new = [event_id for event_id in there if event_id not in self._given]",
        "new = there",
        _TEST_TAIL,
        "what was shown is not shown again",
    ),
    Mutant(
        _TAIL,
        'return name.replace("\\\\", r"\\\\").replace("%", r"\\%").replace("_", r"\\_")',
        "return name",
        _TEST_TAIL,
        "a type's name is no pattern but for a final asterisk",
    ),
    Mutant(
        "app/engine/audit_log.py",
        "ORDER BY id DESC",
        "ORDER BY id",
        "tests/engine/queue/test_pauses.py tests/commands/test_dead.py tests/logistics/test_bad_morning.py",
        "the history shows the newest first",
    ),
    Mutant(
        "app/engine/inspect/timeline.py",
        "while cause is not None and cause in causes and cause not in seen:",
        "while cause is not None and cause not in seen:",
        "tests/engine/inspect/test_timeline.py tests/commands/test_events.py",
        "depth counts the causes that are in the timeline",
    ),
)
