"""Mutants of pure decisions: retry, transitions, references, sealing, settings."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_RETRY, _TEST_RETRY = "app/engine/delivery/retry.py", "tests/engine/delivery/test_retry.py"
_EFFECT = "app/engine/effect.py"
_RULES, _BATCH_RULES = "app/logistics/rules.py", "app/engine/batches/rules.py"
_SEALING, _TEST_SEALING = "app/sealing.py", "tests/test_sealing.py"

MUTANTS = (
    Mutant(
        _EFFECT,
        "ceiling = min(self.cap, self.base * 2.0**attempt)",
        "ceiling = self.base * 2.0**attempt",
        _TEST_RETRY,
        "the delay is capped",
    ),
    Mutant(_EFFECT, "2.0**attempt", "1.5**attempt", _TEST_RETRY, "the delay doubles"),
    Mutant(
        _EFFECT,
        "return ceiling / 2 + ceiling / 2 * chance",
        "return ceiling / 2 + ceiling / 2 * 0.5",
        _TEST_RETRY,
        "chance spreads the delays, so that what failed together does not come back together",
    ),
    Mutant(
        _EFFECT,
        "return ceiling / 2 + ceiling / 2 * chance",
        "return ceiling * chance",
        _TEST_RETRY,
        "the delay is at least half of the doubled base",
    ),
    Mutant(
        _EFFECT,
        "return attempt + 1 >= self.most_attempts",
        "return attempt >= self.most_attempts",
        _TEST_RETRY,
        "the limit counts deliveries",
    ),
    Mutant(
        _RETRY,
        "return PutBack(policy.delay(attempt, chance), attempt + 1)",
        "return PutBack(policy.delay(attempt, chance), attempt)",
        _TEST_RETRY,
        "a transient error spends an attempt",
    ),
    Mutant(
        _RETRY,
        "return isinstance(error, pg.LockNotAvailable) or is_conflict(error) or is_disconnect(error)",
        "return is_conflict(error) or is_disconnect(error)",
        _TEST_RETRY,
        "a lock that another session holds spends no attempt",
    ),
    Mutant(
        _RETRY,
        "_CONFLICTS = (pg.DeadlockDetected, pg.SerializationFailure)",
        "_CONFLICTS = (pg.DeadlockDetected,)",
        _TEST_RETRY,
        "a serialization failure spends no attempt",
    ),
    Mutant(
        _RETRY,
        "return state is None or state.startswith(_AWAY)",
        "return True",
        _TEST_RETRY,
        "an error of a server that is there is not a lost connection",
    ),
    Mutant(
        _BATCH_RULES,
        '"completed": frozenset({"processing"}),',
        '"completed": frozenset({"processing", "failed"}),',
        "tests/logistics/test_jobs.py tests/logistics/test_submit.py",
        "a completed job cannot become failed",
    ),
    Mutant(
        _RULES,
        "for order_id in sorted(order_id.bytes for order_id in order_ids):",
        "for order_id in (order_id.bytes for order_id in order_ids):",
        "tests/logistics/test_keys.py",
        "a request with the same orders in another order is the same request",
    ),
    Mutant(
        _RULES,
        "digest = hashlib.sha256(carrier.encode())",
        "digest = hashlib.sha256()",
        "tests/logistics/test_keys.py",
        "a request for another carrier is another request",
    ),
    Mutant(
        _BATCH_RULES,
        "1 <= len(key) <= 200",
        "0 <= len(key) <= 200",
        "tests/logistics/test_keys.py tests/logistics/test_jobs.py tests/logistics/test_submit.py",
        "an empty idempotency key is refused",
    ),
    Mutant(
        _SEALING,
        'return f"{tenant}|{account}|{row_id}".encode()',
        'return f"{tenant}|{account}".encode()',
        _TEST_SEALING,
        "a password that is moved to another row does not open",
    ),
    Mutant(
        _SEALING,
        'return f"{tenant}|{account}|{row_id}".encode()',
        'return f"{account}|{row_id}".encode()',
        _TEST_SEALING,
        "a password that is moved to another tenant does not open",
    ),
    Mutant(
        _SEALING,
        "nonce = os.urandom(_NONCE_BYTES)",
        "nonce = bytes(_NONCE_BYTES)",
        _TEST_SEALING,
        "a nonce is used once",
    ),
    Mutant(
        _SEALING,
        "key_id, key = next(iter(self.keys.items()))",
        "key_id, key = list(self.keys.items())[-1]",
        _TEST_SEALING,
        "the first key seals",
    ),
    Mutant(
        _SEALING,
        "keys: Mapping[str, bytes] = field(repr=False)",
        "keys: Mapping[str, bytes] = field()",
        _TEST_SEALING,
        "no key is shown in a repr",
    ),
    Mutant(
        "app/settings.py",
        "if self.graceful_timeout + self.heartbeat_interval >= self.stalled_after:",
        "if self.graceful_timeout >= self.stalled_after:",
        "tests/test_settings.py",
        "a worker that stops is not rescued while it waits for its deliveries",
    ),
)
