"""Declare domains, and check that no two domains claim the same name, schema or command.

The program is a tuple of domains (`app.wiring`). From it follow the served events and their queues, the schemas that a
starting worker checks, `audit`, `doctor`, `explain`, the commands, and the migrations of domains in separate packages.
This module has no slow imports, because `cli.py --help` reads the domains. Declarations for workers and queries are in
`Parts`, whose address a domain may give instead of importing it.
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
"""Names of schemas and in the ledger of migrations that belong to the engine, Procrastinate or PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """A domain's functions for `explain`.

    `job` and `item` take a connection and an id, and return reasons. They raise `NotFound` for an id of another domain.
    `tenant` takes the engine's reasons for a tenant's waiting events, and returns them with the domain's additions.
    `tenant_of` returns the tenant of a job or an item, or None if the domain has no such id.
    """

    job: Callable[[Connection, UUID], Sequence[Reason]] | None = None
    item: Callable[[Connection, UUID], Sequence[Reason]] | None = None
    tenant: Callable[[Connection, UUID, Sequence[Reason]], Sequence[Reason]] | None = None
    tenant_of: Callable[[Connection, UUID], UUID | None] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """A domain's declarations for workers and operators.

    `wirings`: handlers and effects. `invariants`: checked by `audit`. `checkups`: checked by `doctor`. `tables`:
    qualified names of tables without which a worker does not start.
    """

    wirings: Sequence[Wiring] = ()
    invariants: Sequence[Invariant] = ()
    checkups: Sequence[Checkup] = ()
    explainers: Sequence[Explainer] = ()
    tables: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A part of the program with its own events, tables and commands.

    `name`: unique; the prefix of the domain's files in the ledger of migrations. `schemas`: the database schemas that
    it owns. `parts`: a `Parts`, or its address as `module:NAME`, which `app.loading` imports when it is needed.
    `commands`: a Typer app or its address, by the name of the command-line group. `routers`: FastAPI routers or their
    addresses, for the web application. `migrations`: the directory of a domain in a separate package. `fixtures`: the
    address of an `app.fixtures.Fixtures`: crash cases, isolation fixtures, the part of a chaos run, jobs for
    benchmarks. Raises `SetupError` for a bad or reserved name, or a missing directory.
    """

    name: str
    parts: Parts | str = field(default_factory=Parts)
    schemas: tuple[str, ...] = ()
    commands: Mapping[str, Any] = field(default_factory=dict)
    routers: Sequence[Any] = ()
    migrations: Path | None = None
    fixtures: str | None = None

    def __post_init__(self) -> None:
        """Check the name, the schemas and the migrations directory. Raises `SetupError`."""
        for name in (self.name, *self.schemas):
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise SetupError(
                    f"domain {self.name!r}: {name!r} cannot be a name or schema: use lower-case letters, digits and _,"
                    f" at most 40 characters, and none of {', '.join(sorted(_RESERVED))}"
                )
        if self.migrations is not None and not self.migrations.is_dir():
            raise SetupError(f"domain {self.name}: its migrations directory {self.migrations} does not exist")


def check(domains: Sequence[Domain], commands: Iterable[str] = ()) -> None:
    """Raise `SetupError` if two domains share a name, schema or command, or a domain has a command in `commands`."""
    _unique(((domain.name, domain.name) for domain in domains), "name")
    _unique(((schema, domain.name) for domain in domains for schema in domain.schemas), "schema")
    taken = [(name, "the program") for name in commands]
    _unique([*taken, *((name, domain.name) for domain in domains for name in domain.commands)], "command")


def explain_one(
    explainers: Iterable[Explainer], what: Literal["job", "item"], connection: Connection, id_: UUID
) -> list[Reason]:
    """Return the reasons why a job or an item has not ended, from the first domain that has it.

    Raises `NotFound` if no domain has the id.
    """
    unknown: list[NotFound] = []
    for explainer in explainers:
        if (ask := explainer.job if what == "job" else explainer.item) is not None:
            try:
                return list(ask(connection, id_))
            except NotFound as error:
                unknown.append(error)
    if len(unknown) == 1:
        raise unknown[0]
    # Each domain's message has its own remedy.
    remedies = "; ".join(str(one) for one in unknown)
    raise NotFound(f"{what}: there is no {what} {id_} in any domain{f' ({remedies})' if remedies else ''}")


def explain_tenant(
    explainers: Iterable[Explainer], connection: Connection, tenant: UUID, reasons: Sequence[Reason]
) -> list[Reason]:
    """Return the engine's reasons for a tenant's waiting events, with each domain's additions."""
    for explainer in explainers:
        if explainer.tenant is not None:
            reasons = explainer.tenant(connection, tenant, reasons)
    return list(reasons)


def tenant_of(explainers: Iterable[Explainer], connection: Connection, id_: UUID) -> UUID | None:
    """Return the tenant of a job or an item; None if no domain returns one."""
    found = (one.tenant_of(connection, id_) for one in explainers if one.tenant_of is not None)
    return next((tenant for tenant in found if tenant is not None), None)


def _unique(claims: Iterable[tuple[str, str]], what: str) -> None:
    owners: dict[str, str] = {}
    for claim, owner in claims:
        if claim in owners:
            raise SetupError(f"{what} {claim!r} is claimed twice: by {owners[claim]} and by {owner}; rename one")
        owners[claim] = owner
