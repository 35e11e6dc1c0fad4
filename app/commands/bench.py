"""`bench …`: measure the program's speed on this machine against a baseline that does the same work."""

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
    help="Measure speed and memory as ratios to a baseline, in a temporary database.",
    no_args_is_help=True,
)


@app.callback()
def quietly() -> None:
    """Log warnings and errors only, unless a log level is set: the workers' log would mix with the report."""
    from app import logs
    from app.settings import settings, use

    if "log_level" not in settings().model_fields_set:
        use(log_level="WARNING")
    logs.configure()


Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Alternating rounds; figures are medians.")]
Scale = Annotated[
    float, typer.Option("--scale", min=0.0001, max=10, help="Factor of the usual sizes; 0.01 is a quick run.")
]


@app.command("fan-in")
def fan_in(
    *,
    rounds: Rounds = 3,
    scale: Scale = 1,
    shipped: Annotated[
        bool, typer.Option("--shipped", help="Results are successes; each also ships its order.")
    ] = False,
    domain: Annotated[
        str | None, typer.Option("--domain", help="Domain whose jobs are measured; default: the first with some.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure applied results a second. Baselines: plain Procrastinate and bare SQL statements."""
    from app.bench import fan_in

    _measure(fan_in.run, as_json=as_json, rounds=rounds, shipped=shipped, domain=domain, scale=scale)


@app.command("publish")
def publish(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure publishing, one event or 50,000 events a transaction. Baselines: defer, batch_defer and COPY."""
    from app.bench import publish

    _measure(publish.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("latency")
def latency(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure an idle worker's latency, from publish commit to handler commit. Baseline: plain Procrastinate."""
    from app.bench import latency

    _measure(latency.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("backlog")
def backlog(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure delivery rate while up to a million other events wait, were applied or were put back."""
    from app.bench import backlog

    _measure(backlog.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("submit")
def submit(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure submit and fan-out of 100,000 orders. Baselines: plain Procrastinate and COPY of the same rows."""
    from app.bench import submit

    _measure(submit.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("robots")
def robots(
    *,
    rounds: Rounds = 3,
    scale: Scale = 1,
    portal_ms: Annotated[
        list[int] | None,
        typer.Option("--portal-ms", min=0, help="Portal latency in ms; repeatable; default 0 and 20."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a job from submit to completion through a portal, with one and with two workers."""
    from app.bench import robots

    latencies = sorted(set(portal_ms or robots.LATENCIES_MS))
    _measure(robots.run, as_json=as_json, rounds=rounds, scale=scale, latencies=latencies)


@app.command("collection")
def collection(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure pages a second of a run under a budget. Baseline: plain Procrastinate with a lock over each call."""
    from app.bench import collection

    _measure(collection.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("memory")
def memory(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure a worker's peak memory while it applies ten thousand and a million results."""
    from app.bench import memory

    _measure(memory.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("held")
def open_transaction(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure applied results a second while an open transaction blocks vacuum."""
    from app.bench import open_transaction

    _measure(open_transaction.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("fairness")
def fairness(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure a small tenant's effects beside a large tenant's backlog, and a single tenant's rate."""
    from app.bench import fairness

    _measure(fairness.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("webhooks")
def webhooks(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure messages of Twilio a second, and the wait for an answer. Baseline: a bare handler with one INSERT."""
    from app.bench import webhooks

    _measure(webhooks.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("crash")
def crash(*, rounds: Rounds = 3, scale: Scale = 1, as_json: Json = False) -> None:
    """Measure recovery: SIGKILL a worker in the middle of 200 jobs. Baseline: plain Procrastinate."""
    from app.bench import crash

    _measure(crash.run, as_json=as_json, rounds=rounds, scale=scale)


@app.command("plot")
def plot(
    *,
    files: Annotated[
        list[Path], typer.Argument(help="Output of --json: one report a line.", exists=True, dir_okay=False)
    ],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="Output directory.")] = Path("docs/figures"),
    as_json: Json = False,
) -> None:
    """Draw reports as PNG files, one for each benchmark."""
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
