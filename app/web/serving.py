"""Serve the web application with uvicorn."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI

STOP_S = 2
"""Seconds that open requests and streams have at a stop. Without a limit, uvicorn waits for streams for ever."""


def config(app: FastAPI, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration. `options`: its own, for example `host`, `port` and `uds`."""
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
        **options,
    )
