"""Fixtures of the web application's tests."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from app.settings import settings
from app.testing.database import Database
from app.web.app import create
from tests.helpers import web


@pytest.fixture
def application(database: Database, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application on the test's database. Tests may add routes to it."""
    monkeypatch.setenv("TALLYMAN_TOKEN_SECRET", web.SECRET)
    settings.cache_clear()
    return create()


@pytest.fixture
def client(application: FastAPI) -> Iterator[web.TestClient]:
    """An in-process client."""
    with web.client(application) as opened:
        yield opened


@pytest.fixture
def served(application: FastAPI) -> Iterator[httpx.Client]:
    """A client of the application behind a real uvicorn."""
    with web.serving(application) as opened:
        yield opened
