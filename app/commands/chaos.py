"""`chaos`: everything at once, under faults, on a server of its own; then compare with what was promised."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated

import typer

from app.commands.output import Json, emit, note
from app.commands.signals import interruptible


def chaos(
    *,
    minutes: Annotated[float, typer.Option("--minutes", min=0.05, max=600, help="For how long faults are done.")] = 2,
    seed: Annotated[int | None, typer.Option("--seed", help="Which faults come when; random unless given.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=16, help="Worker processes.")] = 3,
    as_json: Json = False,
) -> None:
    """Kill, stop and cut off workers and restart PostgreSQL while jobs run; exit code 1 on a broken promise.

    Runs on a server and a portal of its own in a temporary directory, which stays only if a promise was broken.
    """
    from app.chaos.run import Wanted, run

    wanted = Wanted(minutes, secrets.randbelow(2**32) if seed is None else seed, workers)
    with interruptible():
        report = run(wanted, note)
    document = {**asdict(report), "faults_by_kind": report.faults_by_kind()}
    emit(document, as_json=as_json, human="\n".join(report.lines()))
    if report.violations:
        raise typer.Exit(1)
