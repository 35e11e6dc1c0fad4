"""Mutants of collection runs: their places, caps, states and requests."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_PLACES, _TEST_PLACES = "app/collection/places.py", "tests/collection/test_places.py"
_SETTINGS, _TEST_SETTINGS = "migrations/0044_set_settings.sql", "tests/collection/test_settings.py"
_TEST_WAKING = "tests/collection/test_waking.py"
_TEST_DEAD_PAGES = "tests/collection/test_dead_pages.py"
_STORE, _RUNS = "app/collection/store.py", "app/collection/runs.py"
_TEST_TRANSITIONS, _TEST_RUNS = "tests/collection/test_transitions.py", "tests/collection/test_runs.py"

MUTANTS = (
    Mutant(
        _PLACES,
        "    connection.execute(_LOCK, [orgs])\n",
        "",
        _TEST_PLACES,
        "two starts at the same instant do not take the same place",
    ),
    Mutant(
        _PLACES,
        "ORDER BY r.created_at, r.id",
        "ORDER BY r.created_at DESC, r.id",
        _TEST_PLACES,
        "the oldest waiting run starts first",
    ),
    Mutant(
        _PLACES,
        "if run.is_waiting]",
        "]",
        _TEST_PLACES,
        "a run that was cancelled while its start waited is not started",
        survives="store.start() starts only runs that wait, and a cancelled run has no pending page to request",
    ),
    Mutant(
        _PLACES,
        "r.status = 'pending' OR (r.status = 'paused' AND r.pause_reason = 'place')",
        "r.status = 'pending'",
        _TEST_PLACES,
        "a resumed run starts when a place is free",
    ),
    Mutant(
        _PLACES,
        "return [*requested, *budget.finish(context, started)]",
        "return [*requested]",
        _TEST_TRANSITIONS,
        "a run that was paused at its last page completes when it is resumed",
    ),
    Mutant(
        _STORE,
        "coalesce(r.cap_override_cents,\n",
        "coalesce(NULL,\n",
        f"{_TEST_PLACES} {_TEST_SETTINGS}",
        "a run starts and continues with its own cap",
    ),
    Mutant(
        _STORE,
        "coalesce(r.started_at, statement_timestamp())",
        "statement_timestamp()",
        _TEST_PLACES,
        "a resumed run keeps the time of its first start",
    ),
    Mutant(
        _STORE,
        "(r.created_at, r.id) < (SELECT b.created_at, b.id",
        "(r.created_at) < (SELECT b.created_at",
        _TEST_RUNS,
        "a page of the list continues after the last run, also among runs of one instant",
    ),
    Mutant(
        _SETTINGS,
        "                   AND own.cap_override_cents IS NULL) booked",
        "                  ) booked",
        _TEST_SETTINGS,
        "a run with its own cap keeps it when the settings change",
    ),
    Mutant(
        _SETTINGS,
        "r.actual_cost_cents + r.overrun_cents > p_cap",
        "r.actual_cost_cents + r.overrun_cents >= p_cap",
        _TEST_SETTINGS,
        "a run that has spent as much as the new cap goes on",
    ),
    Mutant(
        _SETTINGS,
        "greatest(p_cap, r.actual_cost_cents + r.reserved_cost_cents + booked.cents)",
        "p_cap",
        _TEST_SETTINGS,
        "a cap does not fall below what is spent and reserved",
    ),
    Mutant(
        _SETTINGS,
        "r.pause_reason = ANY(p_reasons)",
        "r.pause_reason IS NOT NULL",
        _TEST_SETTINGS,
        "a higher cap does not wake a run that a user paused",
    ),
    Mutant(
        _SETTINGS,
        "           + coalesce((SELECT min(p.price_cents)",
        "           + 0 * coalesce((SELECT min(p.price_cents)",
        _TEST_SETTINGS,
        "a higher cap without room for the next page wakes no run",
    ),
    Mutant(
        _SETTINGS,
        "<= coalesce(r.cap_override_cents,",
        "<= coalesce(NULL,",
        _TEST_WAKING,
        "a run that is woken by a lower bill has room within its own cap",
    ),
    Mutant(
        _SETTINGS,
        "    PERFORM FROM collection.places p WHERE p.org_id = p_org_id FOR NO KEY UPDATE;\n",
        "",
        _TEST_SETTINGS,
        "a change of the settings locks places before runs",
    ),
    Mutant(
        _RUNS,
        "        _refuse_used_key(context, idempotency_key, fingerprint)\n        _check_account",
        "        _check_account",
        _TEST_RUNS,
        "a repeated request is a duplicate, also when its estimate does not fit any more",
    ),
    Mutant(
        _RUNS,
        "if used.request_fingerprint == fingerprint:",
        "if True:",
        _TEST_RUNS,
        "a key that was used for other content is refused",
    ),
    Mutant(
        _RUNS,
        '        if run.pause_reason == "place":\n            store.hold(',
        '        if run.pause_reason == "place":\n            (lambda *_: None)(',
        _TEST_TRANSITIONS,
        "a run that waits for a place and is paused again does not start by itself",
    ),
    Mutant(
        _SETTINGS,
        "IF NOT tenancy.is_org_admin(p_org_id) THEN",
        "IF NOT tenancy.is_org_member(p_org_id) THEN",
        _TEST_SETTINGS,
        "a member who is no admin sets no settings",
    ),
    Mutant(
        "app/collection/dead_pages.py",
        'and found[event.data.page_id].status == "processing"]',
        "and False]",
        _TEST_DEAD_PAGES,
        "a page that may be charged is not given up without an answer",
    ),
    Mutant(
        "app/collection/effects.py",
        "if now is not None and now.discard_reason:",
        "if False:",
        _TEST_DEAD_PAGES,
        "a discarded page is not bought",
    ),
    Mutant(
        _RUNS,
        'closing.close(context.connection, dead, "cancel run", note, actor)',
        "pass",
        _TEST_DEAD_PAGES,
        "a cancellation resolves the dead requests of its run",
    ),
    Mutant(
        _RUNS,
        ", *cancel_pending(context, [run_id]))",
        ")",
        _TEST_TRANSITIONS,
        "a cancelled run has no page that waits",
    ),
    Mutant(
        "app/collection/accounts.py",
        "return self.is_enabled and bool(self.api_key and self.base_url)",
        "return bool(self.api_key and self.base_url)",
        "tests/collection/test_accounts.py",
        "a disabled account is not used",
    ),
    Mutant(
        "app/collection/accounts.py",
        "api_key: str | None = field(repr=False)",
        "api_key: str | None = field()",
        "tests/collection/test_accounts.py",
        "a sealed API key is not shown in a repr",
    ),
)
