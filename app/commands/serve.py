"""`serve`: run the web application."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8000,
    uds: Annotated[Path | None, typer.Option("--uds", help="Listen on this unix socket instead.")] = None,
) -> None:
    """Run the web application until SIGTERM or Ctrl-C. Open requests have a second to end."""
    from app import logs
    from app.web.app import create
    from app.web.serving import Server

    logs.configure()
    server = Server(create(), host=host, port=port, uds=str(uds) if uds else None)
    server.run()
    if not server.started:
        raise typer.Exit(1)
