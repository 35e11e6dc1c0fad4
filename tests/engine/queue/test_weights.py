"""Weights of tenants, and the due and running effects of each."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from app.context import Connection
from app.engine import audit_log
from app.engine.queue.publish import publish
from app.engine.queue.weights import HIGHEST, Standing, set_weight, standings
from app.errors import InvalidInput
from tests.helpers.blocking_calls import fetch
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say, want

A, B = UUID(int=1), UUID(int=2)


def test_a_weight_is_recorded_with_actor_and_reason(connection: Connection) -> None:
    """The audit log has the weight before and after; without an earlier one that is 1."""
    made = set_weight(connection, A, 3, actor=" ana ", reason="pays\nmore")
    assert (made.tenant_id, made.weight, made.set_by, made.reason) == (A, 3.0, "ana", "pays more")
    again = set_weight(connection, A, 0.5, actor="luis", reason="pays less")
    assert (again.weight, again.set_by) == (0.5, "luis")
    assert scalar(connection, "SELECT count(*) FROM engine.tenant_weights") == 1
    found = audit_log.history(connection, A)
    assert [(one.actor, one.action, one.details) for one in found] == [
        ("luis", "weight", {"before": 3.0, "after": 0.5}),
        ("ana", "weight", {"before": 1.0, "after": 3.0}),
    ]


@pytest.mark.parametrize("weight", [0, -1, HIGHEST + 1, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_refused(connection: Connection, weight: float) -> None:
    """The error names the field and the range."""
    with pytest.raises(InvalidInput, match=r"^weight: .* above 0, at most 1000"):
        set_weight(connection, A, weight, actor="ana", reason="x")


@pytest.mark.parametrize(("actor", "reason", "field"), [("", "x", "actor"), ("ana", " ", "reason")])
def test_a_weight_needs_actor_and_reason(connection: Connection, actor: str, reason: str, field: str) -> None:
    """Without them nothing is set."""
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        set_weight(connection, A, 2, actor=actor, reason=reason)
    assert scalar(connection, "SELECT count(*) FROM engine.tenant_weights") == 0


def test_standings_count_due_and_running_rows_by_account(connection: Connection, outside: Outside) -> None:
    """A tenant's part of a queue is its weight divided by those of all tenants with rows; its accounts have one part.

    Delayed rows and rows of handlers do not count.
    """
    set_weight(connection, A, 3, actor="ana", reason="pays more")
    publish(connection, want("running", tenant=A))
    fetch(connection)
    for number in range(2):
        publish(connection, want(f"due {number}", tenant=A))
    publish(connection, want("b", tenant=B))
    publish(connection, want("later", tenant=uuid4()), delay=600)
    publish(connection, say("handled"))
    assert standings(connection) == [
        Standing("toys", str(A), None, due=2, in_hand=1, weight=3.0, part=0.75),
        Standing("toys", str(B), None, due=1, in_hand=0, weight=1.0, part=0.25),
    ]
    assert standings(connection, "other") == []
    assert [one.tenant for one in standings(connection, "toys", limit=1)] == [str(A)]


def test_accounts_are_listed_apart(connection: Connection) -> None:
    """Each with its rows, and with the part of its tenant."""
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)"
        " SELECT 'toys', 'perform', jsonb_build_object('share', share, 'events', '[]'::jsonb)"
        "   FROM unnest(ARRAY['a/x', 'a/x', 'a/y/z', 'b']) share"
    )
    found = [(one.tenant, one.account, one.due, one.part) for one in standings(connection)]
    assert found == [("a", "x", 2, 0.5), ("a", "y/z", 1, 0.5), ("b", None, 1, 0.5)]
