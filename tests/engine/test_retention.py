"""Retention: a domain's rows are deleted with the engine's."""

from __future__ import annotations

from dataclasses import replace

from app.context import Connection
from app.engine import domain
from app.engine.retention import Rule
from app.engine.worker.prune import count_prunable, prune
from tests.helpers.toy import Outside

_WORDS = "SELECT array_agg(word) FROM toy.heard"


def test_rows_of_a_domain_are_pruned(connection: Connection, outside: Outside) -> None:
    """Those for which its condition holds; `older_than` replaces its days."""
    rule = Rule("toy", "heard", "old.word < %(days)s::text", lambda _: 3)
    connection.execute("INSERT INTO toy.heard (word) VALUES ('1'), ('2'), ('4')")
    with domain.use(replace(outside.wiring(), retention=[rule])):
        assert (count_prunable(connection)["heard"], count_prunable(connection, older_than=2)["heard"]) == (2, 1)
        assert prune(connection)["heard"] == 2
    assert connection.execute(_WORDS).fetchone() == (["4"],)
