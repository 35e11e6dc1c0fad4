"""Uploads of CSV files: as the raw body, or as the field `file` of a form. Kept in a file until the request ends."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from starlette.datastructures import UploadFile

from app.web.problems import ProblemError

NAME = "file"
"""The field of the form, and the file's name in messages."""
_PART = 1 << 20


async def _csv_file(request: Request) -> AsyncIterator[Path]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    with tempfile.NamedTemporaryFile(prefix="tallyman-") as file:
        if kind == "text/csv":
            async for part in request.stream():
                file.write(part)
        elif kind == "multipart/form-data":
            async with request.form(max_files=1, max_fields=1) as form:
                await _copy(form.get(NAME), file)
        else:
            raise ProblemError(415, f"Content-Type: must be text/csv or multipart/form-data, not {kind or 'missing'}")
        file.flush()
        yield Path(file.name)


async def _copy(sent: UploadFile | str | None, file: Any) -> None:
    if sent is None:
        raise ProblemError(400, f"{NAME}: the form has no field with this name")
    if isinstance(sent, str):  # a part without a file name
        file.write(sent.encode())
        return
    while part := await sent.read(_PART):
        file.write(part)


CsvFile = Annotated[Path, Depends(_csv_file)]
"""The parameter of an endpoint that takes a file. Put it after the person and before the transaction."""
SkipBad = Annotated[bool, Query(description="Import valid rows even if others are invalid.")]


def body(example: str) -> dict[str, Any]:
    """Return the part of the OpenAPI document that describes the upload."""
    form = {
        "type": "object",
        "required": [NAME],
        "properties": {NAME: {"type": "string", "contentMediaType": "text/csv"}},
    }
    content = {
        "text/csv": {"schema": {"type": "string"}, "example": example},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "description": "CSV in UTF-8 with a header.", "content": content}}
