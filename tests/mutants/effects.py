"""Mutants of effects and of their replay: calls, slots, outcomes, plans, the portal's gateway."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CLAIM, _RECORD = "app/engine/effects/claim.py", "app/engine/effects/record.py"
_VERDICT = "app/engine/effects/verdict.py"
_CALLS, _EXECUTE = "app/engine/effects/calls.py", "app/engine/effects/execute.py"
_BATCH = "app/engine/effects/batch.py"
_TEST_EXECUTE = "tests/engine/effects/test_execute.py"
_REPLAY = "app/engine/dead_letters/replay.py"
_TEST_REPLAY = "tests/engine/dead_letters/test_replay.py tests/engine/dead_letters/test_replay_edges.py"
_REDELIVER, _TEST_REDELIVER = "app/engine/dead_letters/redeliver.py", "tests/engine/dead_letters/test_redeliver.py"
_GATEWAY, _TEST_GATEWAY = "app/logistics/http_portal.py", "tests/logistics/test_http_portal.py"
_OUTGOING, _TEST_OUTGOING = "app/outgoing.py", "tests/test_outgoing.py"

MUTANTS = (
    Mutant(
        _VERDICT,
        "PutBack(max(delay, effect.grace_period()), attempt)",
        "PutBack(delay, attempt)",
        "tests/engine/queue/test_delays.py",
        "a call in doubt is not asked about before the other side has settled",
    ),
    Mutant(
        _CLAIM,
        "    for limit in sorted(limits):\n        concurrency.wake_parked(connection, limit)\n    return None",
        "    return None",
        "tests/engine/effects/test_concurrency.py",
        "a woken row that is not wanted any more wakes the next",
    ),
    Mutant(
        _RECORD,
        "    _leave_in_doubt(connection, batch, [task for task, _ in results if task.queued in others])\n",
        "",
        "tests/engine/delivery/test_reused.py",
        "a call that was made for an event whose id was taken meanwhile stays in doubt",
    ),
    Mutant(
        _RECORD,
        "        concurrency.wake_parked(connection, limit)\n    return granted",
        "        pass\n    return granted",
        "tests/engine/effects/test_concurrency.py",
        "a recorded outcome wakes the row that has been parked for longest",
    ),
    Mutant(
        _RECORD,
        "            _resize(connection, batch, [])\n",
        "            pass\n",
        "tests/engine/effects/test_concurrency.py",
        "a delivery that must stop wakes the row that has been parked for longest",
    ),
    Mutant(
        _VERDICT,
        "case Bury() if isinstance(outcome, effect.gives_up_on) and effect.give_up:",
        "case _ if isinstance(outcome, effect.gives_up_on) and effect.give_up:",
        _TEST_EXECUTE,
        "an effect gives up only after its last attempt",
    ),
    Mutant(
        _EXECUTE,
        "if task.call.in_doubt and not batch.effect.can_be_asked:",
        "if False:",
        "tests/engine/effects/test_unasked.py",
        "where the other side cannot be asked, a call in doubt is not made again",
    ),
    Mutant(
        _EXECUTE,
        "            await check()\n",
        "            pass\n",
        "tests/engine/effects/test_calls.py",
        "a worker that lost its delivery makes no call",
    ),
    Mutant(
        _BATCH,
        "if _clock() - self.checked_at > _LEASE_IS_FRESH:",
        "if False:",
        "tests/faults/test_zombies.py tests/faults/test_races_of_workers.py",
        "a worker that was stopped and goes on looks whether its delivery is still its own",
        survives="the effects that skip this check check again themselves, right before their irreversible step",
    ),
    Mutant(
        _CALLS,
        "RETURNING call_key, xmax <> 0 AND engine.is_live(row_id, attempts, worker_id), xmax <> 0",
        "RETURNING call_key, false, xmax <> 0",
        "tests/logistics/test_live_copies.py tests/engine/effects/test_calls.py"
        " tests/engine/dead_letters/test_redeliver.py tests/engine/dead_letters/test_letter_locks.py"
        " tests/faults/test_races_of_workers.py tests/logistics/test_one_entry.py",
        "a call that another delivery is making is not seized",
    ),
    Mutant(
        _REPLAY,
        "AND (f.resolved_at IS NOT NULL OR f.failed_at <> p.failed_at)",
        "AND f.resolved_at IS NOT NULL",
        _TEST_REPLAY,
        "a plan is stale when one of its letters died again",
    ),
    Mutant(
        _REPLAY,
        'if seen.outcomes["dead"]:',
        'if seen.outcomes["dead"] == seen.replayed:',
        _TEST_REPLAY,
        "one failure among the first stops a replay",
    ),
    Mutant(
        _REPLAY,
        'if progress.outcomes["dead"] * 100 > pace.stop_at * known:',
        'if progress.outcomes["dead"] > pace.stop_at * known:',
        _TEST_REPLAY,
        "the limit of failures is a percentage",
    ),
    Mutant(
        _REDELIVER,
        "letter.resolved_at is None and letter.failed_at == one.failed_at",
        "letter.resolved_at is None",
        _TEST_REDELIVER,
        "a letter that died again since its plan is skipped",
    ),
    Mutant(
        _REDELIVER,
        "SET replay_count = replay_count + 1, replayed_at = clock_timestamp()",
        "SET replayed_at = clock_timestamp()",
        _TEST_REDELIVER + " tests/commands/test_dead.py",
        "a letter counts its replays",
    ),
    Mutant(
        _GATEWAY,
        "if accepted.reference != form.reference:",
        "if False:",
        "tests/logistics/test_wrong_answers.py",
        "an answer for another order is no success",
    ),
    Mutant(
        _GATEWAY,
        "found.setdefault(accepted.reference, accepted)",
        "found[accepted.reference] = accepted",
        _TEST_GATEWAY,
        "of several orders of one reference the oldest counts",
    ),
    Mutant(
        _GATEWAY,
        "        for start in range(0, len(references), _REFERENCES_A_CALL):",
        "        for start in range(0, min(1, len(references)), _REFERENCES_A_CALL):",
        _TEST_GATEWAY,
        "any number of references can be looked up",
    ),
    Mutant(
        _GATEWAY,
        "key = (account.key, account.base_url, account.credentials)\n        door",
        "key = (account.key, account.base_url)\n        door",
        _TEST_GATEWAY,
        "changed credentials are tried at once",
    ),
    Mutant(
        _OUTGOING,
        "if len(body) > self._largest:",
        "if False:",
        _TEST_OUTGOING,
        "what is read of an answer is bounded",
    ),
    Mutant(
        _OUTGOING,
        "allow_redirects=False,",
        "allow_redirects=True,",
        _TEST_OUTGOING,
        "a redirect carries no session elsewhere",
    ),
)
