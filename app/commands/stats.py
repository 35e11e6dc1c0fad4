"""`stats`: how much was applied lately, how long it took, and how much died."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.commands.output import Json, emit
from app.commands.scope import as_service
from app.commands.spans import span


def stats(
    *,
    since: Annotated[str, typer.Option("--since", metavar="SPAN", help="Of the last 90s, 15m, 1h, 7d.")] = "15m",
    as_json: Json = False,
) -> None:
    """Show rates a minute and durations in seconds (half, and 95 of 100, were as quick), by type of event.

    waiting: from when an event was said until it was applied; an effect's contains its call. handling: of effects,
    from when a call was asked for until its answer was counted. dead: letters that died.
    """
    from app.engine.inspect.stats import stats as look

    last = span("--since", since)
    with as_service() as connection:
        found = [asdict(one) for one in look(connection, last)]
    emit(
        [{"since_s": last.total_seconds(), **one} for one in found],
        as_json=as_json,
        human=[_short(one) for one in found],
    )


def _short(one: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in one.items()}
