"""The declaration of a batch, and the composition of SQL with its names."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from app.context import Connection
from app.engine.batches.tables import ItemState, composed, statement
from tests.helpers.cards import PRINTS, Office, Requested
from tests.helpers.songs import SONGS

NAMES = "{jobs} {items} {tenant} {job_id} {status} {total} {succeeded} {failed}"


def text(batch: object, template: str, connection: Connection) -> str:
    """Return a composed statement."""
    return composed(batch, template).as_string(connection)  # type: ignore[arg-type]


def test_names_become_identifiers(connection: Connection) -> None:
    """Of the declared tables and columns, quoted."""
    assert text(PRINTS, NAMES, connection) == (
        '"cards"."prints" "cards"."cards" "workspace_id" "job_id" "status" "total_items" "success_count" "error_count"'
    )
    assert text(SONGS, NAMES, connection) == (
        '"songs"."orders" "songs"."variants" "user_id" "order_id" "generation_status" "variants_total"'
        ' "variants_complete" "variants_failed"'
    )


def test_words_and_event_types_become_literals(connection: Connection) -> None:
    """Those of the batch."""
    template = "{pending} {processing} {success} {error} {says_submitted} {says_job_completed} {says_job} {says_item}"
    assert text(SONGS, template, connection) == (
        "'pending' 'generating' 'complete' 'failed' 'test/song.submitted' 'test/song.completed' 'order_id' 'variant_id'"
    )


def test_column_lists_begin_with_a_comma_or_are_empty(connection: Connection) -> None:
    """So that they can follow other columns."""
    template = "{request}|{given_request}|{about}|{given_about}|{i_about}|{set_result}"
    assert text(PRINTS, template, connection) == (
        ', "paper"|, "given"."paper"|, "address", "copies"|, "given"."address", "given"."copies"'
        '|, "i"."address", "i"."copies"|"print_number" = filled."print_number", "error_type" = filled."error_type",'
        ' "error_message" = filled."error_message", '
    )
    assert text(replace(PRINTS, request=(), about=(), result=()), template, connection) == "|||||"


def test_derived_fields_are_selected_by_their_expression(connection: Connection) -> None:
    """Under the field's name; the others are columns of the row `i`."""
    found = text(SONGS, "{item_columns}", connection)
    assert found.startswith('"i"."id", "i"."order_id"')
    assert '(SELECT o.user_id FROM songs.orders o WHERE o.id = i.order_id) AS "owner"' in found


def test_a_statement_is_composed_once(connection: Connection) -> None:
    """For each batch."""
    assert statement(PRINTS, NAMES) is statement(PRINTS, NAMES)
    assert statement(PRINTS, NAMES).decode() == text(PRINTS, NAMES, connection)
    assert statement(SONGS, NAMES) != statement(PRINTS, NAMES)


def test_the_engines_words_are_read_from_the_tables() -> None:
    """An unknown status is an error."""
    assert [SONGS.word(status) for status in ("pending", "generating", "complete", "failed")] == [
        "pending",
        "processing",
        "success",
        "error",
    ]
    with pytest.raises(KeyError):
        SONGS.word("processing")


def test_ids_attempts_and_counters_are_read_by_their_names(office: Office) -> None:
    """In payloads and in rows."""
    job_id, item_id = uuid4(), uuid4()
    data = Requested(job_id=job_id, item_id=item_id, attempt=3, paper="matt", address="a")
    assert (PRINTS.job_of(data), PRINTS.item_of(data), PRINTS.attempt_of(data)) == (job_id, item_id, 3)
    assert PRINTS.counters(office.submit("a", "b")) == (2, 0, 0)
    assert (PRINTS.owner, SONGS.owner, PRINTS.table) == ("workspace", "user", "cards.prints")


@pytest.mark.parametrize(
    ("status", "is_open"), [("pending", True), ("processing", True), ("success", False), ("error", False)]
)
def test_an_item_is_open_until_it_has_a_result(status: str, *, is_open: bool) -> None:
    """By the engine's word."""
    state = ItemState(uuid4(), uuid4(), uuid4(), status, 0, ())  # type: ignore[arg-type]
    assert state.is_open is is_open
