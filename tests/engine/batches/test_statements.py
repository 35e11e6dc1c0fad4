"""SQL with the names of a batch."""

from __future__ import annotations

from dataclasses import replace

from app.context import Connection
from app.engine.batches.statements import composed, statement
from tests.helpers.cards import PRINTS
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
