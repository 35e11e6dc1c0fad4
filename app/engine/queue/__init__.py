"""The queue: its rows carry events to workers; also fetch, leases, ordering, pauses and fair sharing.

`procrastinate --app=app.engine.queue.app worker` starts a worker. Procrastinate reads the name `app` from this package.
That command is the only user of the attribute.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return the Procrastinate app for the name `app`."""
    if name == "app":
        from app.door import open_door  # noqa: PLC0415 - only for Procrastinate's command line

        return open_door()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
