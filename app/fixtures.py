"""Declare what tests, chaos runs and benchmarks need of a domain: `Domain.fixtures` is the address of a `Fixtures`.

The generic runners iterate over the installed domains:

    crashes     `app.testing.cases`: crash each handler and effect at every statement
    isolation   `app.testing.isolation`: the rows that each role reaches in each table
    chaos       `python cli.py chaos`: run everything under faults, then check the laws
    bench       `python cli.py bench fan-in`: measure how many results a second are applied

Nothing that a worker or producer runs imports a domain's fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, LiteralString, TypeVar
from uuid import UUID

from app.chaos.part import Chaos
from app.context import Connection
from app.engine.batches import Batch
from events import Event, Payload

WorldT = TypeVar("WorldT")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashCase(Generic[WorldT]):
    """A delivery to crash at every statement.

    name         unique in the domain
    payload      the payload type of the delivered events: each type that the domain serves needs a case
    arrange      set up the database, and return the events to publish; without any, the waiting events are delivered
    drained      queues to deliver before the crashes start, after `arrange`
    settings     settings of the program during the case, as for `app.settings.using`
    hold         SQL by which another session locks rows during the delivery; "": none
    quick        crash before each statement only, without the other faults
    batch_size, dead, makes_room  arguments of `app.testing.crashes.crash_everywhere`
    """

    name: str
    payload: type[Payload]
    arrange: Callable[[WorldT], Sequence[Event[Any]]]
    drained: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    dead: int = 0
    makes_room: bool = False
    hold: LiteralString = ""
    quick: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashes(Generic[WorldT]):
    """The crash enumeration of a domain.

    world     open the outside world of a case (simulators, accounts) for a connection and a new workspace
    cases     at least one for each payload type that the domain serves
    reset     reset the outside world before each run
    observe   the state of the outside world, which must be equal after all runs
    ignore    "schema.table" or "schema.table.column": values that differ between runs
    """

    world: Callable[[Connection, UUID], AbstractContextManager[WorldT]]
    cases: Sequence[CrashCase[WorldT]]
    reset: Callable[[WorldT], object] = lambda _: None
    observe: Callable[[WorldT], object] = lambda _: None
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of the isolation matrix. `{t}` in the SQL stands for a tenant's ids without their last digit.

    insert   columns and values of one more row of the tenant
    where    condition of the tenant's rows
    column   a column to select and to update
    """

    insert: LiteralString
    where: LiteralString
    column: LiteralString


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """The isolation matrix of a domain's tables.

    seed      SQL that inserts a tenant's rows; `{t}1` is its workspace and organisation
    tables    each table of the domain's schemas, by qualified name
    expected  a heading (`verb`, then the actors of `app.testing.isolation.ACTORS`), and a line for each table and verb:
              the rows that each actor reaches, of its own tenant / of another one; `-`: the statement is refused;
              `k`: a constraint keeps the row
    moves     statements, by actor, that would move a row into another tenant; each must be refused; `{own}` and
              `{other}` stand for ids
    """

    seed: LiteralString
    tables: Mapping[LiteralString, Rows]
    expected: str
    moves: Sequence[tuple[str, LiteralString]] = ()


@dataclass(frozen=True, slots=True)
class BenchItem:
    """One item of a benchmark: ids of the item, of what it is about (an order), and of its job."""

    id: UUID
    about_id: UUID
    job_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJobs:
    """The jobs that `bench fan-in --domain` measures.

    batch          the jobs' batch
    tables         further tables with rows of the jobs, as (schema, table); emptied before each run
    insert         insert jobs of a workspace, in progress, with all their items
    result         make the result of an item, a success or a failure; `number` is unique among the items
    follows        the type of the event that a success publishes besides the job's completion, if any
    has_baselines  whether `app.bench.plain` and `app.bench.limit` have this batch's statements for comparison
    """

    batch: Batch[Any, Any]
    insert: Callable[[Connection, UUID, Sequence[BenchItem]], None]
    result: Callable[[BenchItem, int, bool], Payload]
    tables: Sequence[tuple[str, str]] = ()
    follows: type[Payload] | None = None
    has_baselines: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixtures:
    """What tests, chaos runs and benchmarks need of a domain. Each part is optional.

    A domain with handlers or effects needs `crashes`, one with tables `isolation`: the tests name what is missing.
    """

    crashes: Crashes[Any] | None = None
    isolation: Isolation | None = None
    chaos: Chaos | None = None
    bench: BenchJobs | None = None
