"""The queue: events on their way in rows of it, who takes them and when.

`procrastinate --app=app.engine.queue.app worker` starts a worker. Procrastinate looks the name up in this package, so
the package is that command's entry point: nothing else may use the attribute.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return the Procrastinate app for the name `app`."""
    if name == "app":
        from app.door import open_door  # noqa: PLC0415 - for Procrastinate's command line alone

        return open_door()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
