"""Domain: what a domain declares about itself, and the checks that two domains do not claim the same thing.

The program is a tuple of domains (`app.wiring`). Everything else follows from it: which events are served and where,
the schemas that a worker checks when it starts, `audit`, `doctor`, `explain`, the commands, and the migrations of
domains that live in packages of their own. This module imports nothing heavy, because `cli.py --help` reads the
domains: what only a worker or a query needs is in `Parts`, which a domain may name instead of importing it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from app.errors import NotFound, SetupError

if TYPE_CHECKING:
    from uuid import UUID

    from app.context import Connection
    from app.engine.domain import Invariant, Wiring
    from app.engine.health.doctor import Checkup
    from app.engine.inspect.reasons import Reason

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RESERVED = frozenset({"engine", "procrastinate", "public", "auth"})
"""Schemas and names in the ledger of migrations that are the engine's, Procrastinate's or PostgreSQL's."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """How a domain answers `explain`.

    `job` and `item` take a connection and an id and return reasons; they raise `NotFound` for an id of another domain.
    `tenant` takes the engine's reasons for a tenant's waiting events and returns them with the domain's own.
    `tenant_of` returns the tenant of a job or an item, or None if the id is not the domain's.
    """

    job: Callable[[Connection, UUID], Sequence[Reason]] | None = None
    item: Callable[[Connection, UUID], Sequence[Reason]] | None = None
    tenant: Callable[[Connection, UUID, Sequence[Reason]], Sequence[Reason]] | None = None
    tenant_of: Callable[[Connection, UUID], UUID | None] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What workers and operators need of a domain.

    `wirings` say who serves which event. `invariants` are looked up by `audit`, `checkups` by `doctor`. `tables` are
    qualified names without which a worker does not start.
    """

    wirings: Sequence[Wiring] = ()
    invariants: Sequence[Invariant] = ()
    checkups: Sequence[Checkup] = ()
    explainers: Sequence[Explainer] = ()
    tables: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A part of the program with events, tables and commands of its own.

    `name` is unique, and the prefix of its files in the ledger of migrations. `schemas` are the database schemas that
    it owns. `parts` is a `Parts`, or its address as `module:NAME`, which `app.loading` imports when it is needed.
    `commands` maps the name of a command-line group to a Typer app or its address. `migrations` is the directory of a
    domain that lives in a package of its own. Raises `SetupError` for a name that cannot be used.
    """

    name: str
    parts: Parts | str = field(default_factory=Parts)
    schemas: tuple[str, ...] = ()
    commands: Mapping[str, Any] = field(default_factory=dict)
    migrations: Path | None = None

    def __post_init__(self) -> None:
        """Check the name and the schemas."""
        for name in (self.name, *self.schemas):
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise SetupError(
                    f"domain {self.name!r}: {name!r} cannot be a name or schema: use lower-case letters, digits and _,"
                    f" at most 40 characters, and none of {', '.join(sorted(_RESERVED))}"
                )
        if self.migrations is not None and not self.migrations.is_dir():
            raise SetupError(f"domain {self.name}: its migrations directory {self.migrations} does not exist")


def check(domains: Sequence[Domain], commands: Iterable[str] = ()) -> None:
    """Raise `SetupError` if two domains have one name, schema or command, or one has a command in `commands`."""
    _unique(((domain.name, domain.name) for domain in domains), "name")
    _unique(((schema, domain.name) for domain in domains for schema in domain.schemas), "schema")
    taken = [(name, "the program") for name in commands]
    _unique([*taken, *((name, domain.name) for domain in domains for name in domain.commands)], "command")


def explain_one(
    explainers: Iterable[Explainer], what: Literal["job", "item"], connection: Connection, id_: UUID
) -> list[Reason]:
    """Why a job or an item has not ended, asked of each domain in turn. Raises `NotFound` if it is no domain's."""
    unknown: list[NotFound] = []
    for explainer in explainers:
        if (ask := explainer.job if what == "job" else explainer.item) is not None:
            try:
                return list(ask(connection, id_))
            except NotFound as error:
                unknown.append(error)
    if len(unknown) == 1:
        raise unknown[0]
    raise NotFound(f"{what}: there is no {what} {id_} in any domain")


def explain_tenant(
    explainers: Iterable[Explainer], connection: Connection, tenant: UUID, reasons: Sequence[Reason]
) -> list[Reason]:
    """The engine's reasons for a tenant's waiting events, with what each domain adds."""
    for explainer in explainers:
        if explainer.tenant is not None:
            reasons = explainer.tenant(connection, tenant, reasons)
    return list(reasons)


def tenant_of(explainers: Iterable[Explainer], connection: Connection, id_: UUID) -> UUID | None:
    """The tenant of a job or an item; None if no domain knows the id or tells."""
    found = (one.tenant_of(connection, id_) for one in explainers if one.tenant_of is not None)
    return next((tenant for tenant in found if tenant is not None), None)


def _unique(claims: Iterable[tuple[str, str]], what: str) -> None:
    owners: dict[str, str] = {}
    for claim, owner in claims:
        if claim in owners:
            raise SetupError(f"{what} {claim!r} is claimed twice: by {owners[claim]} and by {owner}; rename one")
        owners[claim] = owner
