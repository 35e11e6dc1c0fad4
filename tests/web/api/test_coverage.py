"""Coverage over HTTP: all tenants share it, so only operators import it."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.settings import settings
from tests.helpers.support import scalar
from tests.helpers.web import TestClient
from tests.web.api.conftest import Caller

CITIES = "city,department,carrier_city\nMedellín,Antioquia,MEDELLIN (ANT)\nCali,Valle,CALI\n".encode()
PATH = "/v1/coverage/dhl/import"
CSV = {"Content-Type": "text/csv"}


def test_only_an_operator_imports_coverage(
    client: TestClient, member: Caller, outsider: Caller, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the admin of a workspace. By default nobody is an operator."""
    assert client.post(PATH, content=CITIES, headers={**CSV, **outsider.headers}).status_code == 403
    monkeypatch.setenv("TALLYMAN_OPERATORS", f"00000000-0000-0000-0000-000000000001, {str(member.user_id).upper()}")
    settings.cache_clear()
    assert client.post(PATH, content=CITIES, headers={**CSV, **outsider.headers}).status_code == 403
    assert scalar(connection, "SELECT count(*) FROM logistics.carrier_coverage") == 0
    done = client.post(PATH, content=CITIES, headers=CSV)
    assert done.json() == {"created": 2, "updated": 0, "unchanged": 0, "bad": 0, "problems": []}
    changed = client.post(PATH, files={"file": CITIES.replace(b"CALI", b"CALI (VALLE)")})
    assert (changed.json()["updated"], changed.json()["unchanged"]) == (1, 1)
    refused = client.post(PATH, content=b"city\nCali\n", headers=CSV)
    assert (refused.status_code, refused.json()["errors"][0]["message"]) == (
        422,
        "line 1: column department is missing",
    )
    assert client.post("/v1/coverage/D%20H/import", content=CITIES, headers=CSV).status_code == 422
