"""Orders over HTTP: imported from a file, all rows or none, and listed."""

from __future__ import annotations

from typing import Any

import pytest

from app.context import Connection
from tests.helpers.support import scalar
from tests.helpers.web import TestClient
from tests.web.api.conftest import Caller

HEADER = "reference,recipient_name,address,city\n"
GOOD = f"{HEADER}A-1,Ana Pérez,Calle 1,Medellín\nA-2,Leo,Calle 2,Cali\n".encode()
BAD = f"{HEADER}A-1,Ana,Calle 1,Medellín\nA-2,,Calle 2,Cali\nA-1,Eva,Calle 3,Cali\n".encode()
CSV = {"Content-Type": "text/csv; charset=utf-8"}


def path(member: Caller, query: str = "") -> str:
    """Return the path of the import."""
    return f"/v1/workspaces/{member.workspace.id}/orders/import{query}"


def test_a_file_is_imported_as_a_body_or_a_form(client: TestClient, member: Caller) -> None:
    """The answer has the ids in the order of the rows. Existing references are counted, and not changed."""
    first = client.post(path(member), content=GOOD, headers=CSV)
    assert first.status_code == 200, first.text
    assert {**first.json(), "order_ids": 2} == {"order_ids": 2, "created": 2, "existing": 0, "bad": 0, "problems": []}
    again = client.post(path(member), files={"file": ("orders.csv", GOOD, "text/csv")})
    assert again.json() == {**first.json(), "created": 0, "existing": 2}
    url = f"/v1/workspaces/{member.workspace.id}/orders"
    page = client.get(url, params={"limit": 1, "status": "pending"})
    assert [one["reference"] for one in page.json()] == ["A-1"]
    assert [one["reference"] for one in client.get(page.links["next"]["url"]).json()] == ["A-2"]


def test_a_bad_row_is_named_and_nothing_is_imported(client: TestClient, member: Caller, connection: Connection) -> None:
    """Unless the bad rows are to be skipped. The path of the server's own file is not shown."""
    refused = client.post(path(member), content=BAD, headers=CSV)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:problem:tallyman:invalid-file")
    assert [one["message"] for one in refused.json()["errors"]] == [
        "line 3: recipient_name: must not be empty",
        "line 4: reference: A-1 is on line 2 already",
    ]
    assert refused.json()["detail"].startswith("file: 2 rows are bad")
    assert scalar(connection, "SELECT count(*) FROM logistics.orders") == 0
    skipped = client.post(path(member, "?skip_bad=true"), content=BAD, headers=CSV).json()
    assert (skipped["created"], skipped["bad"], len(skipped["problems"])) == (1, 2, 2)


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"content": GOOD, "headers": {"Content-Type": "application/json"}}, 415, "must be text/csv or multipart"),
        ({"content": b""}, 415, "not missing"),
        ({"content": b"", "headers": CSV}, 422, "file: the file is empty"),
        ({"content": GOOD.decode().encode("cp1252"), "headers": CSV}, 422, "is not UTF-8"),
        ({"files": {"other": ("orders.csv", GOOD, "text/csv")}}, 400, "file: the form has no field with this name"),
        ({"data": {"file": "x"}, "files": {"x": b""}}, 422, "the header must name reference"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, 400, ""),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
    ],
)
def test_what_is_no_file_is_refused(
    client: TestClient, member: Caller, sent: dict[str, Any], status: int, said: str
) -> None:
    """With a problem document that says what is wrong."""
    answer = client.post(path(member), **sent)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert said in answer.json()["detail"]


def test_orders_of_another_workspace_are_out_of_reach(
    client: TestClient, member: Caller, outsider: Caller, connection: Connection
) -> None:
    """404, and nothing is imported. Without a token the file is not even read."""
    headers = {**CSV, **outsider.headers}
    assert client.post(path(member), content=GOOD, headers=headers).status_code == 404
    assert client.get(f"/v1/workspaces/{member.workspace.id}/orders", headers=headers).status_code == 404
    assert client.post(path(member), content=GOOD, headers={**CSV, "Authorization": "Bearer x"}).status_code == 401
    assert scalar(connection, "SELECT count(*) FROM logistics.orders") == 0
