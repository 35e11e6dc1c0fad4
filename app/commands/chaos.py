"""`chaos`: run all features under faults on a separate server, then check the guarantees."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated

import typer

from app.commands.output import Json, emit, note
from app.commands.signals import interruptible


def chaos(
    *,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, max=600, help="Minutes of faults.")] = 2,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the faults; default random.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="Worker processes.")] = 3,
    as_json: Json = False,
) -> None:
    """Kill, stop and disconnect workers and restart PostgreSQL while jobs run. Exit code 1 on a violation.

    Uses its own server and portal in a temporary directory. The directory is kept only after a violation.
    """
    from app.chaos.run import Wanted, run

    wanted = Wanted(minutes, secrets.randbelow(2**32) if seed is None else seed, workers)
    with interruptible():
        report = run(wanted, note)
    document = {**asdict(report), "faults_by_kind": report.faults_by_kind()}
    emit(document, as_json=as_json, human="\n".join(report.lines()))
    if report.violations:
        raise typer.Exit(1)
