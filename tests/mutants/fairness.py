"""Mutants of fair share, of fetching, and of slots that are kept for woken rows."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FETCH, _FAIR_SHARE, _SHARES = (f"app/engine/queue/{name}.py" for name in ("fetch", "fair_share", "shares"))
_ROUND, _SLOTS = "migrations/0036_fetch_effects_once.sql", "migrations/0037_slot_of_a_woken_row.sql"
_LONE, _KEPT = "tests/engine/queue/test_lone_tenant.py", "tests/engine/effects/test_kept_slots.py"
_TEST_SHARES = "tests/engine/queue/test_shares.py"

MUTANTS = (
    Mutant(
        _FETCH,
        "wanted = _where(queues, fair_share.only, fair_share)",
        "wanted = _where(queues, fair_share.last, fair_share)",
        _LONE,
        "a tenant that waits alone is given room by another tenant's deliveries",
    ),
    Mutant(
        _FETCH,
        '"above": EFFECTS_PRIORITY if _serves_others(queues) else None,',
        '"above": None,',
        "tests/engine/queue/test_fairness.py",
        "events come before effects for a worker of both",
    ),
    Mutant(
        _FAIR_SHARE,
        "return None if others else first",
        "return first",
        _LONE,
        "several shares with deliveries are not one",
    ),
    Mutant(
        _SHARES,
        "return one.in_hand >= _rounded_up(share_of(one, claimants, capacity)), one.served",
        "return False, one.served",
        _TEST_SHARES,
        "a claimant that has its share comes after one that has not",
    ),
    Mutant(
        _SHARES,
        "one.in_hand < max(1, math.floor(shares[one.key] + _ROUNDING))",
        "one.in_hand < max(1, math.ceil(shares[one.key] - _ROUNDING))",
        _TEST_SHARES,
        "a fraction of a delivery is no reason to yield",
    ),
    Mutant(
        _ROUND,
        "\n           OR engine.next_share(queue, '', p_share) IS NOT NULL THEN",
        " THEN",
        _LONE,
        "a share before the one served last waits too",
    ),
    Mutant(
        _ROUND,
        "IF engine.next_share(queue, '', chr(1114111)) IS NOT NULL THEN",
        "IF false THEN",
        _LONE,
        "a share of another queue waits too",
    ),
    Mutant(
        _ROUND,
        "    DELETE FROM public.procrastinate_jobs j\n     WHERE j.id = ANY(ARRAY(SELECT s.id FROM sibling s))",
        "    DELETE FROM public.procrastinate_jobs j USING sibling s\n     WHERE j.id = s.id",
        "tests/engine/queue/test_take_once.py",
        "siblings are looked up by their ids",
    ),
    Mutant(
        _SLOTS,
        "(s.row_id = p_row_id OR NOT engine.is_taken(s.row_id, s.attempts, s.worker_id, s.reserved_until))",
        "(s.row_id = p_row_id OR NOT engine.is_live(s.row_id, s.attempts, s.worker_id))",
        _KEPT,
        "nobody takes the slot that is kept for a woken row",
    ),
    Mutant(
        _SLOTS,
        "p_reserved_until > clock_timestamp()\n                     AND EXISTS",
        "EXISTS",
        _KEPT,
        "a slot that nobody comes for is free again",
    ),
    Mutant(
        _SLOTS,
        "WHERE j.id = p_row_id AND j.status IN ('todo', 'doing')",
        "WHERE true",
        _KEPT,
        "a slot is kept only while its row is there",
    ),
)
