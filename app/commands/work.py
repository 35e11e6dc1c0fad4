"""`work`: run a supervised worker."""

from __future__ import annotations

from typing import Annotated

import typer


def work(
    *,
    queues: Annotated[
        list[str] | None, typer.Option("--queue", "-q", help="Serve only this queue; repeatable. All by default.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, max=64, help="Concurrent deliveries (of effects: 4).")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65535,
            help="Serve metrics on this port; 0: any free one, which is logged. Default: TALLYMAN_METRICS_PORT.",
        ),
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run even if a crash may lose commits or tenants are not isolated.")
    ] = False,
) -> None:
    """Run a worker: deliver events and execute effects until SIGTERM or Ctrl-C.

    Restarts if the database connection is lost. Exit codes: 0 stopped normally, 1 stopped retrying,
    70 cannot record the end of a delivery, 75 stopped at the limit of TALLYMAN_GRACEFUL_TIMEOUT.
    """
    import asyncio

    from app import logs
    from app.engine.worker.app import app
    from app.engine.worker.supervise import plan, supervise
    from app.settings import use

    if unsafe:
        use(unsafe=True)
    if metrics_port is not None:
        use(metrics_port=metrics_port)
    logs.configure()
    raise typer.Exit(asyncio.run(supervise(app, plan(queues, concurrency))))
