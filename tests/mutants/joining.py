"""Mutants of joining: which waiting events a running delivery takes, and which rows are not fetched meanwhile."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_SQL, _BATCH = "migrations/0049_refill_deliveries.sql", "app/engine/effects/batch.py"
_RECORD, _JOINING = "app/engine/effects/record.py", "app/engine/effects/joining.py"
_TEST = "tests/engine/effects/test_joining.py"

MUTANTS = (
    Mutant(_SQL, "p_args -> 'attempt' = '0' AND", "true AND", _TEST, "a tried event does not join"),
    Mutant(_SQL, " AND NOT p_args ? 'since'", "", _TEST, "an event that was set aside does not join"),
    Mutant(
        _SQL,
        "d.queue_name = p_queue AND engine.share(d.args) = p_share AND engine.can_join(d.args) AS joins",
        "engine.can_join(d.args) AS joins",
        "tests/engine/effects/test_concurrency.py",
        "a parked row of another share is woken for a delivery of its own",
    ),
    Mutant(
        _SQL,
        "IF p_more <= 0 OR EXISTS (SELECT FROM engine.paused_queues p WHERE p.queue_name = own.queue_name)",
        "IF p_more <= 0",
        _TEST,
        "nothing joins from a paused queue",
    ),
    Mutant(
        _SQL,
        "r.at > now() - interval '1 minute' AND NOT r.by_restart) THEN",
        "false) THEN",
        _TEST,
        "nothing joins for a minute after a worker crashed",
    ),
    Mutant(
        _SQL,
        "       AND NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = ANY(p_events))\n",
        "",
        _TEST,
        "an event that was applied does not join",
    ),
    Mutant(
        _SQL,
        "WHERE r.key = ANY(p_rests) AND r.until",
        "WHERE false AND r.until",
        _TEST,
        "nothing joins during a cooldown of its limit",
    ),
    Mutant(_SQL, "    RETURN begun = cardinality(p_calls)\n", "    RETURN true\n", _TEST, "a call is begun once"),
    Mutant(
        _JOINING,
        "    if any(limits.get(event.id) not in batch.limits for event in events):\n        raise CannotJoin\n",
        "",
        _TEST,
        "an event under another limit does not join",
    ),
    Mutant(
        _RECORD,
        "    batch.takes_more = False\n    record_outcomes(batch)",
        "    record_outcomes(batch)",
        _TEST,
        "a delivery that is handed back takes no more",
    ),
    Mutant(
        _BATCH, "            and not self.delivery.attempts\n", "", _TEST, "a delivery that was rescued takes no more"
    ),
    Mutant(_BATCH, "            and not self.makes_room\n", "", _TEST, "a delivery that must yield takes no more"),
    Mutant(
        _BATCH,
        "if spare < self.effect.at_once and self.may_take_more",
        "if self.may_take_more",
        _TEST,
        "no more events join than a delivery can begin soon",
    ),
    Mutant(
        "app/engine/queue/fetch.py",
        "fair_share.make_room([one for one in waiting if one not in fair_share.saturated])",
        "fair_share.make_room(waiting)",
        "tests/engine/queue/test_fetch.py",
        "no delivery yields to a share whose rows another delivery takes",
    ),
    Mutant(
        "app/engine/queue/fair_share.py",
        "            self.wake()\n",
        "            pass\n",
        _TEST,
        "a worker fetches rows again when their delivery takes no more",
    ),
)
