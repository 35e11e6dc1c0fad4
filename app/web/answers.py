"""Answers of the API: pages with a link to the next one, and conditional reads with entity tags."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Depends, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")

IfNoneMatch = Annotated[
    str | None, Header(description="The entity tag of the known representation: 304 if it is unchanged.")
]
"""The parameter of every conditional read."""


def _on_one_line(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


Text = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S"), AfterValidator(_on_one_line)]
"""Text that is not blank. Line breaks and control characters become spaces."""
_ETAG = {"ETag": {"description": "A strong entity tag of this representation.", "schema": {"type": "string"}}}
READ: dict[int | str, dict[str, Any]] = {
    200: {"headers": _ETAG},
    304: {"description": "Unchanged; has no body.", "headers": _ETAG},
}
"""The answers of a conditional read."""
_LINK = {"description": 'The URL of the next page (`rel="next"`), if there is one.', "schema": {"type": "string"}}
LISTED: dict[int | str, dict[str, Any]] = {200: {"headers": {"Link": _LINK}}}
"""The answer of a list."""


class View(BaseModel):
    """The base of answers: made from a row, immutable."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class RequestBody(BaseModel):
    """The base of request bodies: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a list that a request asks for, at most `limit` entries. Ask the database for `limit + 1`."""

    request: Request
    response: Response
    limit: Annotated[int, Query(ge=1, le=500, description="Entries of a page, at most.")] = 50

    def of(self, rows: Sequence[T], cursor: str, key: Callable[[T], object]) -> Sequence[T]:
        """Return the page's entries, and link to the next page if `rows` has more.

        `cursor`: the query parameter that takes the `key` of the last entry. The link is relative, so that it holds
        behind any proxy.
        """
        if len(rows) <= self.limit:
            return rows
        query = urlencode({**self.request.query_params, cursor: str(key(rows[self.limit - 1]))})
        self.response.headers["Link"] = f'<{self.request.url.path}?{query}>; rel="next"'
        return rows[: self.limit]


Paged = Annotated[Page, Depends()]
"""The parameter of every list."""


def conditional(view: BaseModel, if_none_match: str | None) -> Response:
    """Return a representation with its entity tag, or a bare 304 if the caller has it.

    The tag is a digest of the representation, so equal tags mean equal bytes.
    """
    body = view.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if if_none_match is not None and _matches(tag, if_none_match):
        # Without a body: uvicorn would send one, and the next answer on the connection could not be read.
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag, "Cache-Control": "private, no-cache"})


def _matches(tag: str, wanted: str) -> bool:
    # A conditional read compares weakly (RFC 9110, section 13.1.2).
    return wanted.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in wanted.split(",")}


def location(kind: str, id_: UUID) -> str:
    """Return the path of a resource of the API."""
    return f"/v1/{kind}/{id_}"
