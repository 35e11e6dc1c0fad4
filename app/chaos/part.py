"""A domain's part of a chaos run. `Fixtures.chaos` (`app.fixtures`) declares it.

The run submits, retries and cancels the jobs of a `Work`, delivers their results again, late, early and for the wrong
tenant, locks their rows, and checks the laws of jobs and items. The domain adds what only it knows: simulators,
accounts, further actors, faults and laws.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.chaos.actors import Actor
from app.chaos.fault_context import Done, FaultContext, Freeze
from app.chaos.model import Model, Submission
from app.chaos.report import Findings
from app.chaos.stage import Stage
from app.context import Connection
from app.engine.batches import Batch

ActorOf = Callable[[Stage, Model, str], Actor]
"""Make an actor for a stage, a model and a seed."""
Harm = Callable[[FaultContext], Done | None]
"""A fault. Its name is the function's name. Returns None if it is not possible now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Jobs with items that a run submits and judges.

    batch       the jobs' batch
    tenants     the producers' workspaces
    invent      make the content of a new job of about `size` items for a workspace; returns it with its items' names
    create      submit a submission in the caller's transaction; returns the job's id
    later       errors of `create` after which the submit is repeated, for example of a disabled account
    refused     errors of `create` after which the producer gives up; nothing is submitted
    names       query of each job's id (`job_id`) and of an array of its items' names (`names`)
    success     fields of a successful result; `may_count`: whether the result can be recorded
    error_type  a type of errors that the payload of a result accepts
    """

    batch: Batch[Any, Any]
    tenants: Sequence[UUID]
    invent: Callable[[UUID, int, random.Random], tuple[Any, frozenset[str]]]
    create: Callable[[Connection, Submission], UUID]
    names: bytes
    later: tuple[type[Exception], ...] = ()
    refused: tuple[type[Exception], ...] = ()
    success: Callable[[bool], Mapping[str, Any]] = lambda _: {}
    error_type: str = "unknown"


@dataclass(frozen=True, slots=True)
class WatchedQueue:
    """A queue whose due rows must not wait too long while others are processed.

    `tenant`: only rows of effects of this tenant. `done`: return the amount of work of this queue that has ended, such
    as calls. `most_passed`: work that may end while a due row waits for 10 s.
    """

    queue: str
    done: Callable[[Connection], int]
    most_passed: int
    tenant: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPart:
    """What a domain takes part with.

    work      jobs with items; None for a domain without
    actors    further actors
    faults    copies of each fault in the deck
    queues    queues whose rows must not wait too long
    laws      check the quiet database and the outside world; called with a connection that sees all rows
    discard   ids of open dead letters that can never be replayed; the operator discards them
    blocked   ids of events whose open dead letters wait for what the run does not do, such as resuming what is paused
    counts    counters of the simulators, for the report
    """

    work: Work | None = None
    actors: Sequence[ActorOf] = ()
    faults: Mapping[Harm, int] = field(default_factory=dict)
    queues: Sequence[WatchedQueue] = ()
    laws: Callable[[Connection, Sequence[Freeze]], Findings] = lambda _connection, _freezes: Findings()
    discard: Callable[[Connection], Sequence[UUID]] = lambda _: ()
    blocked: Callable[[Connection], Sequence[UUID]] = lambda _: ()
    counts: Callable[[], Mapping[str, int]] = dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """The declaration of a domain's part.

    `open`: start simulators, create workspaces (`Stage.new_workspace`) and yield the part; called before the workers
    start. `environment`: variables of the worker processes, such as short time limits.
    """

    open: Callable[[Stage, Model], AbstractContextManager[ChaosPart]]
    environment: Mapping[str, str] = field(default_factory=dict)
