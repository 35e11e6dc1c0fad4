"""`work`: the supervised worker."""

from __future__ import annotations

from typing import Annotated

import typer


def work(
    *,
    queues: Annotated[
        list[str] | None, typer.Option("--queue", "-q", help="Serve only this queue; repeatable. All by default.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, max=64, help="Deliveries at once (of effects: 4).")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Work even where a crash could lose commits or tenants are not isolated.")
    ] = False,
) -> None:
    """Work: deliver events and carry out effects until SIGTERM or Ctrl-C.

    Reconnects and starts over when the database goes away. Exit codes: 0 stopped in order, 1 gave up,
    70 cannot record how a delivery ended, 75 stopped at the limit of TALLYMAN_GRACEFUL_TIMEOUT.
    """
    import asyncio

    from app import logs
    from app.engine.worker.app import app
    from app.engine.worker.supervise import plan, supervise
    from app.settings import use

    if unsafe:
        use(unsafe=True)
    logs.configure()
    raise typer.Exit(asyncio.run(supervise(app, plan(queues, concurrency))))
