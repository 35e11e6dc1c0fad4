"""`stats`: rates, latencies and dead letters of the recent past."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.commands.output import Json, emit
from app.commands.scope import as_service
from app.commands.spans import span


def stats(
    *,
    since: Annotated[str, typer.Option("--since", metavar="SPAN", help="Period until now: 90s, 15m, 1h, 7d.")] = "15m",
    as_json: Json = False,
) -> None:
    """Show rates per minute and p50 and p95 durations in seconds, by event type.

    waiting: from publication to application, including an effect's call. handling: of effects, from the request to the
    applied result. dead: new dead letters.
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
