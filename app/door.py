"""The entry point of Procrastinate's command line: `procrastinate --app=app.engine.queue.app worker`."""

from __future__ import annotations

from app import logs, startup
from app.engine.worker.app import Application, app


def open_door() -> Application:
    """Configure logging, install the wiring, and return the Procrastinate app."""
    logs.configure()
    startup.install_wiring()
    return app
