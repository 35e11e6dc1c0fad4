"""The OpenAPI document: valid, complete, and what the application does."""

from __future__ import annotations

from fastapi import FastAPI
from openapi_spec_validator import validate

from tests.helpers.web import TestClient


def test_the_document_is_valid(client: TestClient) -> None:
    """OpenAPI 3.1, by its JSON schema."""
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_every_call_documents_its_problems(application: FastAPI) -> None:
    """Each operation of the API has a summary, a token, and problem documents for each error."""
    for path, methods in application.openapi()["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["description"], where
            assert operation["security"] == [{"HTTPBearer": []}], where
            errors = {status: one for status, one in operation["responses"].items() if status >= "400"}
            assert {"401", "422", "429", "500", "503"} <= errors.keys(), where
            assert {"400", "408", "413"} <= errors.keys() or "requestBody" not in operation, where
            assert all("application/problem+json" in one["content"] for one in errors.values()), where
