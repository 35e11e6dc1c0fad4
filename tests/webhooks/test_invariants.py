"""Audit of webhooks: each invariant is a query that finds what breaks it, and nothing else."""

from __future__ import annotations

from app.webhooks.fixtures.hooked import Hooked
from app.webhooks.invariants import WEBHOOKS
from tests.helpers.hooks import in_every_status

BREAKS = {
    "an open delivery has its request or its result": "DELETE FROM engine.delayed",
    "a discarded delivery has no dead request": """
        UPDATE webhooks.deliveries SET status = 'discarded' WHERE status = 'dead'""",
    "an endpoint has one current secret and at most one former one": """
        UPDATE webhooks.secrets SET expires_at = now() + interval '1 hour'""",
    "a delivery is of a type that its endpoint's tenant has": """
        UPDATE webhooks.deliveries SET event_type = 'collection.job.completed'""",
}


def test_the_invariants_hold_in_every_status(hooked: Hooked) -> None:
    """Each of them finds what breaks it, and none of the others does."""
    in_every_status(hooked)
    assert {one.status for one in hooked.deliveries()} == {"delivered", "pending", "dead", "discarded"}
    for broken in (None, *BREAKS):
        with hooked.connection.transaction(force_rollback=True):
            if broken:
                hooked.connection.execute(BREAKS[broken].encode())
            found = [one.name for one in WEBHOOKS if hooked.connection.execute(one.statement).fetchall()]
        assert found == ([f"webhooks: {broken}"] if broken else [])
    assert {one.name for one in WEBHOOKS} == {f"webhooks: {name}" for name in BREAKS}
