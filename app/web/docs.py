"""The documentation page of the API: Swagger UI from files of this program, so that it works without a network."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from app.web.headers import SECURITY

router = APIRouter(include_in_schema=False)

FILES = Path(__file__).parent / "static" / "swagger-ui"
"""Swagger UI. Its README has the source, the licence and the hashes."""
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tallyman API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/files/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/files/swagger-ui-bundle.js"></script>
<script src="/docs/files/start.js"></script>
</body>
</html>
"""
_POLICY = SECURITY["Content-Security-Policy"] + "; img-src 'self' data:; style-src 'self' 'unsafe-inline'"
"""Swagger UI has images in its style sheet, and styles in its elements."""


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


def install(app: FastAPI) -> None:
    """Serve the page at `/docs`."""
    app.include_router(router)
    app.mount("/docs/files", StaticFiles(directory=FILES), name="docs")
