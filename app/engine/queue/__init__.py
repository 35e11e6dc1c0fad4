"""The queue: events on their way in rows of it, who takes them and when.

`procrastinate --app=app.engine.queue.app worker` starts a worker: the app is looked up when it is asked for.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Procrastinate's app, under the name that its command line is given."""
    if name == "app":
        from app.engine.worker.app import app  # noqa: PLC0415 - for Procrastinate's command line alone

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
