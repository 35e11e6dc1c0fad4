"""`jobs`: submit, show, watch and retry, with exit codes and output for programs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from app.context import Connection, Context
from app.engine.queue.pauses import pause
from app.logistics import carriers
from app.logistics.jobs import get_job_with_items
from app.tenancy.store import only_workspace
from tests.commands.conftest import Outcome, Run
from tests.helpers.robot_results import failure, success, update_job_item_results
from tests.helpers.support import scalar

HEADER = "reference,recipient_name,address,city,department\n"
CSV = HEADER + "A-1,Ana,Calle 1,Bogotá,Cundinamarca\nA-2,José,Calle 2,Bogotá,\nA-3,Eva,Calle 3,Medellín,\n"


@pytest.fixture
def file(run: Run, connection: Connection, tmp_path: Path) -> Path:
    """A file with three orders, and a workspace with a carrier."""
    run("workspaces", "create", "Acme")
    carriers.set_carrier(
        acme(connection),
        "coordinadora",
        username="bot",
        password=SecretStr("secret"),
        portal_url="https://portal.example.org",
    )
    carriers.enable_carrier(acme(connection), "coordinadora")
    path = tmp_path / "orders.csv"
    path.write_text(CSV)
    return path


def acme(connection: Connection) -> Context:
    """A context of the only workspace."""
    return Context.start(connection, only_workspace(connection).id)


def submit(run: Run, *arguments: object) -> dict[str, Any]:
    """Submit with these arguments. Returns the printed job."""
    done = run("jobs", "submit", *arguments, "--json")
    assert (done.code, len(done.rows)) == (0, 1), done.err
    return done.rows[0]


def answer(connection: Connection, job_id: str, good: int) -> None:
    """Record results of a job: a number of successes, the others refused."""
    items = get_job_with_items(acme(connection), UUID(job_id)).items
    results = [success(item) if n < good else failure(item) for n, item in enumerate(items)]
    update_job_item_results(acme(connection), results)


def made(connection: Connection) -> tuple[int, int, int]:
    """Return the numbers of orders, jobs and queue rows."""
    return (
        scalar(connection, "SELECT count(*) FROM logistics.orders"),
        scalar(connection, "SELECT count(*) FROM logistics.robot_jobs"),
        scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs"),
    )


def test_a_file_becomes_a_job(run: Run, file: Path, connection: Connection) -> None:
    """Orders, job and event in one commit; a line of text, or a JSON object."""
    job = submit(run, "--file", file)
    assert (job["status"], job["total_items"], job["success_count"], job["error_count"]) == ("pending", 3, 0, 0)
    assert (job["carrier"], job["generation"], job["idempotency_key"]) == ("coordinadora", 1, None)
    assert made(connection) == (3, 1, 1)
    for_people = run("jobs", "submit", "--file", file).out.splitlines()
    assert "total_items\t3" in for_people
    assert made(connection) == (3, 2, 2)


def test_times_are_shown_in_the_workspaces_zone(run: Run, file: Path, connection: Connection) -> None:
    """As text. JSON has the same instant in any offset."""
    connection.execute("UPDATE tenancy.workspaces SET timezone = 'Asia/Tokyo'")
    job = submit(run, "--file", file)
    (shown,) = [word for word in run("jobs", "list").out.split() if "+09:00" in word]
    told = run("jobs", "list", "--json").rows[0]["created_at"]
    assert "+09:00" not in told
    assert datetime.fromisoformat(shown) == datetime.fromisoformat(told)
    assert job["created_at"] == told


def test_explain_shows_times_in_the_workspaces_zone(run: Run, file: Path, connection: Connection) -> None:
    """In sentences of jobs, items, events and workspaces. JSON fields keep their offset."""
    connection.execute("UPDATE tenancy.workspaces SET timezone = 'Asia/Tokyo'")
    job = submit(run, "--file", file)
    pause(connection, "events", actor="ana", reason="a look")
    event = scalar(connection, "SELECT args ->> 'id' FROM public.procrastinate_jobs")
    item = items_of_job(connection, job["job_id"])
    for what in (("job", job["job_id"]), ("item", item), ("event", event), ("tenant", "Acme")):
        assert "is paused since 20" in (told := run("explain", *what).out), told
        assert "+0900 by ana" in told
        paused = next(row for row in run("explain", *what, "--json").rows if row["kind"] == "queue_paused")
        assert "+09:00" not in paused["since"]


def items_of_job(connection: Connection, job_id: str) -> str:
    """Return the id of one item of a job."""
    statement = "SELECT id::text FROM logistics.robot_job_items WHERE job_id = %s ORDER BY id LIMIT 1"
    return str(scalar(connection, statement, job_id))


def test_orders_are_named_by_reference_or_id(run: Run, file: Path, connection: Connection) -> None:
    """Mixed. --pending takes all orders that are not shipped."""
    run("orders", "import", file)
    order_id = run("orders", "list", "--json").rows[1]["id"]
    job = submit(run, "--order", "A-3", "--order", order_id)
    items = get_job_with_items(acme(connection), UUID(job["job_id"])).items
    assert [item.order_reference for item in items] == ["A-3", "A-2"]
    answer(connection, job["job_id"], good=1)
    assert submit(run, "--pending")["total_items"] == 2


def test_a_repeated_submit_of_pending_orders_ships_none_twice(run: Run, file: Path, connection: Connection) -> None:
    """It takes new orders and names the job with the others. Without new ones it exits with 0 and makes no job."""
    run("orders", "import", file)
    first = submit(run, "--pending")
    assert (first["total_items"], first["in_open_jobs"]) == (3, [])
    run("orders", "import", _more(file))
    second = submit(run, "--pending")
    assert (second["total_items"], second["in_open_jobs"]) == (1, [{"job_id": first["job_id"], "orders": 3}])
    third = run("jobs", "submit", "--pending")
    assert (third.code, third.out) == (0, "nothing to submit\n")
    assert f"3 pending orders are in job {first['job_id']}, which has not ended" in third.err
    assert submit(run, "--pending")["job_id"] is None
    assert made(connection) == (4, 2, 2)


def _more(file: Path) -> Path:
    path = file.with_name("more.csv")
    path.write_text(HEADER + "A-4,Leo,Calle 4,Bogotá,\n")
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of --file, --order and --pending"),
        (["--file", "FILE", "--pending"], "one of --file, --order and --pending"),
        (["--file", "FILE", "--order", "A-1"], "one of --file, --order and --pending"),
        (["--order", "A-1", "--pending"], "one of --file, --order and --pending"),
        (["--order", "A-1"], "order: the workspace has no 'A-1'"),
        (["--order", str(UUID(int=1))], "00000000-0000-0000-0000-000000000001"),
        (["--file", "FILE", "--carrier", "dhl"], "carrier: dhl is not set up"),
        (["--file", "FILE", "--idempotency-key", ""], "idempotency_key: must be 1 to 200"),
        (["--file", "FILE", "--workspace", "Emca"], "workspace: there is no 'Emca'"),
    ],
)
def test_a_bad_request_changes_nothing(
    run: Run, file: Path, connection: Connection, arguments: list[str], words: str
) -> None:
    """Exit code 2 and one line. The orders of the file are not imported either."""
    done = run("jobs", "submit", *[str(file) if one == "FILE" else one for one in arguments])
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert words in done.err
    assert made(connection) == (0, 0, 0)


def test_an_order_that_is_named_twice_is_refused(run: Run, file: Path, connection: Connection) -> None:
    """Also by reference and by id."""
    run("orders", "import", file)
    order_id = run("orders", "list", "--json").rows[0]["id"]
    done = run("jobs", "submit", "--order", "A-1", "--order", order_id)
    assert (done.code, f"named more than once: {order_id}" in done.err) == (2, True)
    assert made(connection) == (3, 0, 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"reference,city\nA,Cali\n",
            ["line 1: column recipient_name is missing", "line 1: column address is missing"],
        ),
        (HEADER.replace(",", ";").encode() + b"A;Ana;Calle;Cali;\n", ["separated by ';'"]),
        (CSV.encode("latin-1"), ["line 2, byte 22: 0xE1 is not UTF-8"]),
        (CSV.encode("utf-16"), ["is not UTF-8"]),
        (
            CSV.encode() + b"A-4,,Calle,Cali,\nA-5,Eva,Calle\n",
            ["line 5: recipient_name: must not be empty", "line 6: 3 values"],
        ),
        (CSV.encode() + b"A-1,Eva,Calle 3,Cali,\n", ["line 5: reference: A-1 is on line 2 already"]),
        (HEADER.encode(), ["there is a header and no row"]),
        (b"", ["the file is empty"]),
    ],
)
def test_a_bad_file_submits_and_imports_nothing(
    run: Run, file: Path, connection: Connection, content: bytes, words: list[str]
) -> None:
    """Exit code 2 and a line for each problem, without a stack trace."""
    file.write_bytes(content)
    done = run("jobs", "submit", "--file", file)
    assert (done.code, done.out) == (2, "")
    assert [word for word in words if word not in done.err] == []
    assert "Traceback" not in done.err
    assert made(connection) == (0, 0, 0)


def test_the_good_rows_of_a_bad_file_can_be_submitted(run: Run, file: Path, connection: Connection) -> None:
    """Bad rows are lines on stderr."""
    file.write_text(CSV + "A-4,,Calle,Cali,\n")
    done = run("jobs", "submit", "--file", file, "--skip-bad")
    assert (done.code, done.err.splitlines()) == (0, ["line 5: recipient_name: must not be empty"])
    assert made(connection) == (3, 1, 1)


def test_a_key_makes_one_job(run: Run, file: Path, connection: Connection) -> None:
    """The second submit has exit code 2 and the job's id, and creates nothing."""
    job = submit(run, "--file", file, "--idempotency-key", "monday")
    assert job["idempotency_key"] == "monday"
    again = run("jobs", "submit", "--file", file, "--idempotency-key", "monday")
    assert (again.code, again.out, len(again.err.splitlines())) == (2, "", 1)
    assert f"job {job['job_id']} is this very request" in again.err
    said = Outcome(0, run("jobs", "submit", "--pending", "--idempotency-key", "monday", "--json").err, "").rows[0]
    assert (said["error"], said["job_id"]) == ("DuplicateRequest", job["job_id"])
    file.write_text(CSV + "A-4,Leo,Calle 4,Bogotá,\n")
    other = run("jobs", "submit", "--file", file, "--idempotency-key", "monday")
    assert (other.code, f"belongs to job {job['job_id']}" in other.err) == (2, True)
    assert made(connection) == (3, 1, 1)


def test_jobs_are_listed_newest_first(run: Run, file: Path, connection: Connection) -> None:
    """By status and in pages, with the option for the next page."""
    ids = [submit(run, "--file", file)["job_id"] for _ in range(3)]
    assert [row["job_id"] for row in run("jobs", "list", "--json").rows] == ids[::-1]
    page = run("jobs", "list", "--limit", 2, "--json")
    assert f"--before {ids[1]}" in page.err
    assert [row["job_id"] for row in run("jobs", "list", "--before", ids[1], "--json").rows] == ids[:1]
    answer(connection, ids[1], good=3)
    assert [row["job_id"] for row in run("jobs", "list", "--status", "completed", "--json").rows] == [ids[1]]
    heading, *lines = run("jobs", "list").out.splitlines()
    assert (heading.split("\t")[:3], len(lines)) == (["job_id", "carrier", "status"], 3)


def test_a_job_is_shown_with_its_items_and_errors(run: Run, file: Path, connection: Connection) -> None:
    """Items by status and in pages; errors by type of the whole job."""
    job_id = submit(run, "--file", file)["job_id"]
    answer(connection, job_id, good=1)
    (shown,) = run("jobs", "show", job_id, "--json").rows
    assert (shown["status"], shown["success_count"], shown["by_error_type"]) == ("completed", 1, {"portal": 2})
    assert [item["status"] for item in shown["items"]] == ["success", "error", "error"]
    assert shown["next_after"] is None
    (page,) = run("jobs", "show", job_id, "--status", "error", "--limit", 1, "--json").rows
    assert [item["order_reference"] for item in page["items"]] == ["A-2"]
    (rest,) = run("jobs", "show", job_id, "--status", "error", "--after", page["next_after"], "--json").rows
    assert [item["order_reference"] for item in rest["items"]] == ["A-3"]
    for_people = run("jobs", "show", job_id, "--limit", 2)
    assert "failed: portal\t2" in for_people.out
    assert f"--after {shown['items'][1]['id']}" in for_people.err


@pytest.mark.parametrize("command", ["show", "watch", "retry"])
def test_an_unknown_job_is_refused(run: Run, file: Path, command: str) -> None:
    """Also a malformed id: exit code 2 without a stack trace."""
    job_id = uuid4()
    done = run("jobs", command, job_id)
    assert (done.code, done.out, done.err) == (
        2,
        "",
        f"error: job: {job_id} is no job of this workspace; `jobs list` shows them\n",
    )
    assert run("jobs", command, "monday").code == 2


def test_another_workspaces_job_is_not_found(run: Run, file: Path) -> None:
    """It is not listed either."""
    job_id = submit(run, "--file", file)["job_id"]
    run("workspaces", "create", "Emca")
    assert run("jobs", "show", job_id, "-w", "Emca").code == 2
    assert run("jobs", "list", "-w", "Emca", "--json").rows == []
    assert run("jobs", "show", job_id, "-w", "Acme").code == 0


def test_a_job_is_explained_with_the_reasons_of_its_domain(run: Run, file: Path, connection: Connection) -> None:
    """As by `explain job` and `explain item`."""
    job_id = submit(run, "--file", file)["job_id"]
    answer(connection, job_id, good=1)
    item_id = run("jobs", "show", job_id, "--json").rows[0]["items"][0]["id"]
    assert run("jobs", "explain", job_id).out == run("explain", "job", job_id).out != ""
    (own,) = run("jobs", "explain", job_id, "--item", item_id, "--json").rows
    assert own == run("explain", "item", item_id, "--json").rows[0]
    assert own["tracking_number"].startswith("T-")


@pytest.mark.parametrize(("good", "code", "status"), [(3, 0, "completed"), (1, 0, "completed"), (0, 1, "failed")])
def test_watching_a_job_that_has_ended_ends_at_once(
    run: Run, file: Path, connection: Connection, good: int, code: int, status: str
) -> None:
    """With exit code 1 if no item succeeded. The last line has the result."""
    job_id = submit(run, "--file", file)["job_id"]
    answer(connection, job_id, good)
    done = run("jobs", "watch", job_id, "--json")
    assert (done.code, len(done.rows)) == (code, 1)
    last = done.rows[-1]
    assert (last["status"], last["success_count"], last["error_count"]) == (status, good, 3 - good)
    assert last["by_error_type"] == ({"portal": 3 - good} if good < 3 else {})
    for_people = run("jobs", "watch", job_id)
    assert for_people.code == code
    assert for_people.out.startswith(f"{status}: 3/3 done, {good} shipped, {3 - good} failed")


def test_failed_items_are_retried(run: Run, file: Path, connection: Connection) -> None:
    """All or one. Nothing to retry is no error."""
    job_id = submit(run, "--file", file)["job_id"]
    answer(connection, job_id, good=0)
    items = run("jobs", "show", job_id, "--json").rows[0]["items"]
    (one,) = run("jobs", "retry", job_id, "--item", items[0]["id"], "--json").rows
    assert (one["retried_items"], one["status"], one["generation"], one["error_count"]) == (1, "processing", 2, 2)
    refused = run("jobs", "retry", job_id, "--item", items[0]["id"])
    assert (refused.code, "only failed items can be retried; pending" in refused.err) == (2, True)
    (rest,) = run("jobs", "retry", job_id, "--json").rows
    assert (rest["retried_items"], rest["generation"], rest["error_count"]) == (2, 3, 0)
    (none,) = run("jobs", "retry", job_id, "--watch", "--json").rows
    assert (none["retried_items"], none["generation"]) == (0, 3)
