"""`bench …`: how fast the program is here, beside something that does the same work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import Json, emit, note
from app.commands.signals import interruptible

if TYPE_CHECKING:
    from app.bench.report import Report

app = typer.Typer(
    help="Measure speed and memory, as ratios against what runs beside it, in a temporary database.",
    no_args_is_help=True,
)


@app.callback()
def quietly() -> None:
    """Keep the log of the workers that are started out of what is printed, unless somebody asks for it."""
    from app import logs
    from app.settings import settings, use

    if "log_level" not in settings().model_fields_set:
        use(log_level="WARNING")
    logs.configure()


Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Alternating rounds; figures are their medians.")]
Scale = Annotated[
    float, typer.Option("--scale", min=0.0001, max=10, help="Times the usual sizes: 0.01 for a quick look.")
]


@app.command("fan-in")
def fan_in(
    *,
    rounds: Rounds = 3,
    scale: Scale = 1,
    shipped: Annotated[bool, typer.Option("--shipped", help="Each result also ships its order.")] = False,
    as_json: Json = False,
) -> None:
    """Count results: ledger, items, counters, job.completed; beside plain Procrastinate and bare statements."""
    from app.bench import fan_in

    _measure(fan_in.run, as_json=as_json, rounds=rounds, shipped=shipped, scale=scale)


@app.command("publish")
def publish(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Publish events, one a transaction and 50,000 in one; beside defer, batch_defer and COPY."""
    from app.bench import publish

    _measure(publish.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("latency")
def latency(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Wait for an idle worker: from the publisher's commit to the handler's; beside plain Procrastinate."""
    from app.bench import latency

    _measure(latency.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("backlog")
def backlog(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Drain events while up to a million others wait, were applied or were put back."""
    from app.bench import backlog

    _measure(backlog.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("submit")
def submit(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Submit a job of 100,000 orders and fan it out; beside plain Procrastinate and COPY of the same rows."""
    from app.bench import submit

    _measure(submit.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("robots")
def robots(
    *,
    rounds: Rounds = 3,
    scale: Scale = 1,
    portal_ms: Annotated[
        list[int] | None,
        typer.Option("--portal-ms", min=0, help="The portal's latency; repeatable. 0 and 20 by default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Go the whole path, from the submit over a portal to the completed job, with one worker and with two."""
    from app.bench import robots

    latencies = sorted(set(portal_ms or robots.LATENCIES_MS))
    _measure(robots.run, as_json=as_json, rounds=rounds, scale=scale, latencies=latencies)


@app.command("memory")
def memory(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Count ten thousand results, and a million, and look at the most memory that the worker took."""
    from app.bench import memory

    _measure(memory.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("held")
def open_transaction(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Count results while another transaction stays open, so that no vacuum removes anything."""
    from app.bench import open_transaction

    _measure(open_transaction.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("fairness")
def fairness(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Carry a small tenant's effects beside a flood of another's, and a lone tenant's as fast as ever."""
    from app.bench import fairness

    _measure(fairness.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("crash")
def crash(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Kill a worker in the middle of 200 jobs and wait until another has done them; beside plain Procrastinate."""
    from app.bench import crash

    _measure(crash.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("plot")
def plot(
    *,
    files: Annotated[
        list[Path], typer.Argument(help="What --json printed: a report a line.", exists=True, dir_okay=False)
    ],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Where the pictures go.")] = Path("docs/figures"),
    as_json: Json = False,
) -> None:
    """Draw reports as PNG, one picture a benchmark."""
    from app.bench.plot import plot

    emit([{"picture": path} for path in plot(files, out)], as_json=as_json)


def _measure(run: Callable[..., Report], *, as_json: bool, **options: Any) -> None:
    with interruptible():
        report = run(say=note, **options)
    if as_json:
        emit(report.document(), as_json=True)
        return
    emit(f"bench {report.bench}: {report.conditions.line()}", as_json=False)
    emit(report.measured_rows(), as_json=False)
    emit(report.claim_rows(), as_json=False)
    for remark in report.notes:
        note(remark)
