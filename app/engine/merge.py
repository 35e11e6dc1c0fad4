"""Merge the wirings of several domains into the wiring of a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from app.engine.domain import Handler, Wiring
from app.errors import SetupError
from events import KINDS, Payload


def merged(
    declared: Iterable[tuple[str, Wiring]],
    *,
    tables: Sequence[str] = (),
    schemas: Sequence[str] = (),
    migrations: Mapping[str, Path] | None = None,
) -> Wiring:
    """Merge the wirings of several domains into one. `declared`: pairs of a domain's name and one of its wirings.

    Raises `SetupError`, with the domains' names, if two wirings serve one event type or declare subscribers of one
    name, and for a subscriber to a type that has no handler.
    """
    named = list(declared)
    _refuse_shared(named)
    parts = [part for _, part in named]
    handlers = {payload: handler for part in parts for payload, handler in part.handlers.items()}
    return Wiring(
        handlers=handlers,
        effects={payload: effect for part in parts for payload, effect in part.effects.items()},
        forecasts={payload: forecast for part in parts for payload, forecast in part.forecasts.items()},
        locks=[lock for part in parts for lock in part.locks],
        lockables=[one for part in parts for one in part.lockables],
        tables=tables,
        schemas=schemas,
        migrations=migrations or {},
        subscriptions=_subscriptions(parts, handlers),
        retention=[rule for part in parts for rule in part.retention],
        interests={payload: interest for part in parts for payload, interest in part.interests.items()},
        owners={payload: name for name, part in named for payload in (*part.handlers, *part.effects)},
    )


def _refuse_shared(named: Iterable[tuple[str, Wiring]]) -> None:
    owners: dict[str, str] = {}
    for name, part in named:
        for claim, remedy in _claims(part).items():
            if claim in owners:
                by = f"by {owners[claim]} and by {name}" if owners[claim] != name else f"by {name}"
                raise SetupError(f"{claim} is claimed twice: {by}; {remedy}")
            owners[claim] = name


def _claims(part: Wiring) -> dict[str, str]:
    """What no other wiring may have: event types and subscribers' names, each with the remedy of a conflict."""
    claims: dict[str, str] = {}
    for payload in (*part.handlers, *part.effects):
        if (subscriber := _subscriber(payload)) is None:
            claims[f"event type {payload.type!r}"] = "an event type has one handler or effect, of one domain"
        else:
            claims[f"subscriber {subscriber!r}"] = "rename one"
    return claims


def _subscriptions(
    parts: Iterable[Wiring], handlers: Mapping[type[Payload], Handler]
) -> dict[type[Payload], tuple[type[Payload], ...]]:
    """The subscriptions of some wirings. Raises `SetupError` for one to a type without a handler."""
    found: dict[type[Payload], tuple[type[Payload], ...]] = {}
    for part in parts:
        for source, copies in part.subscriptions.items():
            if source not in handlers:
                raise SetupError(
                    f"subscriber {_subscriber(copies[0])}: {source.type} has no handler in this program, so nobody"
                    " owns its events; subscribe to a type that has one (of an effect: to its result's type)"
                )
            found[source] = (*found.get(source, ()), *copies)
    return found


def _subscriber(payload: type[Payload]) -> str | None:
    kind = KINDS.get(payload.type)
    return kind.subscriber if kind else None
