"""The command line of admins and operators: `python cli.py --help`."""

from __future__ import annotations

import sys

try:
    import typer
except ModuleNotFoundError:
    sys.exit("error: the program's packages are not installed here: run `make install`, then .venv/bin/python cli.py")

from app.commands import (
    audit,
    bench,
    chaos,
    db,
    dead,
    demo,
    doctor,
    events,
    explain,
    prune,
    queues,
    serve,
    stats,
    tokens,
    work,
    workers,
)
from app.commands.domains import WithDomains
from app.startup import install_wiring

# Modules of app/commands import heavy packages inside their functions, so that `--help` is fast.
app = typer.Typer(
    cls=WithDomains,
    help="Tallyman: run batches of outside work exactly once, on PostgreSQL alone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(db.app, name="db")
app.add_typer(dead.app, name="dead")
app.add_typer(queues.app, name="queues")
app.add_typer(workers.app, name="workers")
app.add_typer(explain.app, name="explain")
app.add_typer(events.app, name="events")
app.add_typer(bench.app, name="bench")
app.add_typer(demo.app, name="demo")
app.add_typer(tokens.app, name="tokens")
app.command()(work.work)
app.command()(serve.serve)
app.command()(audit.audit)
app.command()(doctor.doctor)
app.command()(stats.stats)
app.command()(prune.prune)
app.command()(chaos.chaos)

if __name__ == "__main__":
    install_wiring()
    app()
