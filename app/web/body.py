"""The raw body of a request: signatures cover the bytes as they were sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request


async def _raw_body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_raw_body)]
"""The parameter of an endpoint that reads the body itself."""
