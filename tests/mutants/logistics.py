"""Mutants of jobs, results and accounts with carriers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_RESULTS = "app/logistics/recording.py"
_COMPLETION = "app/engine/batches/results.py"
_RESULT_TESTS = "tests/logistics/test_recording.py tests/logistics/test_delivered_results.py"
_COUNTERS = "app/engine/batches/counters.py"
_CARRIERS, _TEST_CARRIERS = "app/logistics/carriers.py", "tests/logistics/test_carriers.py"

MUTANTS = (
    Mutant(
        _RESULTS,
        "item.is_open AND item.retry_count = said.attempt AS is_awaited",
        "item.is_open AS is_awaited",
        _RESULT_TESTS,
        "a result of an older attempt is late",
    ),
    Mutant(
        _RESULTS,
        "item.is_open AND item.retry_count = said.attempt AS is_awaited",
        "item.retry_count = said.attempt AS is_awaited",
        _RESULT_TESTS,
        "the second result of an item is late",
    ),
    Mutant(
        _RESULTS,
        "row_number() OVER (PARTITION BY item_id, is_awaited ORDER BY n) = 1 AS counts",
        "true AS counts",
        _RESULT_TESTS,
        "of two results of one item in one list the first counts",
    ),
    Mutant(
        _RESULTS,
        "JOIN locked item ON item.id = said.item_id AND item.job_id = said.job_id",
        "JOIN locked item ON item.id = said.item_id",
        _RESULT_TESTS,
        "a result that names another job than its item's is refused",
    ),
    Mutant(
        _RESULTS,
        "ON job.id = item.job_id AND job.workspace_id = said.workspace_id)",
        "ON job.id = item.job_id)",
        _RESULT_TESTS,
        "a result of another workspace is refused",
    ),
    Mutant(
        _COMPLETION,
        "status = CASE WHEN {succeeded} > 0 THEN 'completed' ELSE 'failed' END",
        "status = CASE WHEN {failed} = 0 THEN 'completed' ELSE 'failed' END",
        _RESULT_TESTS,
        "a job fails only if no item succeeded",
    ),
    Mutant(
        _COMPLETION,
        'event_id = uuid5(job_id, f"{payload.type}/{generation}")',
        'event_id = uuid5(job_id, f"{payload.type}")',
        "tests/logistics/test_retry.py tests/logistics/test_recording.py",
        "a job completes once a generation",
    ),
    Mutant(
        _COMPLETION,
        "counters.lock(connection, batch, sorted({batch.job_of(result.data) for result in results}))",
        "pass",
        "tests/logistics/test_lock_order.py",
        "jobs are locked before their items, or two recorders deadlock",
    ),
    Mutant(
        _COUNTERS,
        "is_done=grew and succeeded + failed == total)",
        "is_done=succeeded + failed == total)",
        _RESULT_TESTS + " tests/logistics/test_retry.py",
        "a change that adds nothing completes nothing",
        survives="every caller passes what grew, but for retries, which take away and never complete a job",
    ),
    Mutant(
        _COUNTERS,
        "is_done=grew and succeeded + failed == total)",
        "is_done=grew and succeeded == total)",
        _RESULT_TESTS,
        "errors count towards completion",
    ),
    Mutant(
        _COUNTERS,
        "WHERE id = ANY(%s) ORDER BY id FOR UPDATE",
        "WHERE id = ANY(%s) ORDER BY id DESC FOR UPDATE",
        "tests/logistics/test_lock_order.py",
        "jobs are locked in one order everywhere",
    ),
    Mutant(
        _CARRIERS,
        "return self.is_enabled and all((self.portal_username, self.portal_password, self.portal_url))",
        "return all((self.portal_username, self.portal_password, self.portal_url))",
        "tests/logistics/test_carriers.py tests/logistics/test_effects.py tests/logistics/test_jobs.py"
        " tests/logistics/test_submit.py",
        "a disabled account is not used",
    ),
    Mutant(
        _CARRIERS,
        "portal_password: str | None = field(repr=False)",
        "portal_password: str | None = field()",
        _TEST_CARRIERS,
        "a sealed password is not shown in a repr",
    ),
    Mutant(
        "app/outgoing.py",
        'is_plain = "@" not in parts.netloc and not parts.query and not parts.fragment',
        "is_plain = not parts.query and not parts.fragment",
        _TEST_CARRIERS,
        "a portal's address holds no password",
    ),
    Mutant(
        _CARRIERS,
        "not 1 <= max_sessions <= MOST_SESSIONS:",
        "not 0 <= max_sessions <= MOST_SESSIONS:",
        _TEST_CARRIERS,
        "an account has at least one session",
    ),
    Mutant(
        _CARRIERS,
        "SET portal_url = coalesce(%s, portal_url), max_sessions = coalesce(%s, max_sessions)",
        "SET portal_url = %s, max_sessions = coalesce(%s, max_sessions)",
        _TEST_CARRIERS,
        "what is not given stays as it is",
    ),
    Mutant(
        _CARRIERS,
        "if missing := _missing(found):",
        "if missing := []:",
        _TEST_CARRIERS,
        "an account that lacks something is not enabled",
    ),
    Mutant(
        "app/logistics/effects.py",
        "if entry.traces.elsewhere is not None:",
        "if False:",
        "tests/logistics/test_elsewhere.py",
        "a robot does not enter what another carrier may have",
    ),
    Mutant(
        "app/logistics/elsewhere.py",
        "OR strpos(i.error_message, 'a retry asks the portal') > 0",
        "",
        "tests/logistics/test_elsewhere.py",
        "an attempt that was given up leaves its order in doubt",
    ),
)
