"""Mutants of outgoing webhooks: addresses, signatures, answers, endpoints."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ADDRESSES, _TEST_ADDRESSES = "app/addresses.py", "tests/test_addresses.py"
_GUARD, _OUTGOING, _TEST_OUTGOING = "app/outgoing_guard.py", "app/outgoing.py", "tests/test_outgoing.py"
_SUBSCRIBERS, _RECORD = "app/engine/subscribers.py", "app/engine/effects/record.py"
_STORE, _EFFECTS, _TEST_EFFECTS = "app/webhooks/store.py", "app/webhooks/effects.py", "tests/webhooks/test_effects.py"
_RULES, _TEST_RULES = "app/webhooks/rules.py", "tests/webhooks/test_rules.py"

MUTANTS = (
    Mutant(
        _ADDRESSES,
        "            return address.ipv4_mapped\n",
        "            return address\n",
        _TEST_ADDRESSES,
        "an address in an allowed network is allowed in each notation",
    ),
    Mutant(
        _ADDRESSES,
        "or address.is_multicast or address.is_reserved",
        "or address.is_reserved",
        _TEST_ADDRESSES,
        "no request goes to a multicast address",
    ),
    Mutant(
        _GUARD,
        '            _check(self._reach, host, one["host"])\n',
        "            pass\n",
        _TEST_OUTGOING,
        "the addresses of a name are checked after it was resolved",
    ),
    Mutant(
        _OUTGOING,
        '                check_literal(self._reach, url.host or "")\n',
        "                pass\n",
        _TEST_OUTGOING,
        "a literal address is checked, which no resolver sees",
    ),
    Mutant(
        _OUTGOING,
        "proxy=None if self._reach else _proxy(url)",
        "proxy=_proxy(url)",
        _TEST_OUTGOING,
        "a guarded request goes to no proxy, which would resolve the name again",
    ),
    Mutant(
        _SUBSCRIBERS,
        "if wanted is None or event.id in wanted",
        "if True",
        "tests/engine/test_subscribers.py",
        "a subscriber gets the events that it wants",
    ),
    Mutant(
        _RECORD,
        "for task, failure in failed if task.begun]",
        "for task, failure in failed]",
        "tests/engine/effects/test_record.py",
        "an effect records only calls that were begun",
    ),
    Mutant(
        _RULES,
        'return "put_off" if may_put_off and retry_after is not None else "failed"',
        'return "failed"',
        _TEST_RULES,
        "Retry-After of 429 and 503 spends no attempt",
    ),
    Mutant(
        _STORE,
        "WHERE is_enabled AND tenant_id = ANY(%s)",
        "WHERE tenant_id = ANY(%s)",
        "tests/webhooks/test_fan_out.py",
        "a disabled endpoint gets no events",
    ),
    Mutant(
        _STORE,
        "attempts = d.attempts + said.counted::integer",
        "attempts = d.attempts + 1",
        _TEST_EFFECTS,
        "an attempt that was put off is not counted",
    ),
    Mutant(
        _EFFECTS,
        '    account="endpoint_id",\n',
        "",
        _TEST_EFFECTS,
        "each endpoint has its own share of a tenant's deliveries",
    ),
    Mutant(
        "app/webhooks/keys.py",
        "coalesce(expires_at > clock_timestamp(), true)",
        "expires_at IS NULL",
        "tests/webhooks/test_endpoints.py",
        "the former secret signs during a rotation",
    ),
)
