"""The webhook of Twilio: a message is answered with 200 once it is durable, and is a job once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg import sql
from structlog.testing import capture_logs

from app import database as doors
from app import settings as settings_
from app.context import Connection
from app.messaging.endpoints import retire_auth_token, rotate_auth_token, switch_endpoint
from app.simulators import twilio
from app.testing.database import Database
from app.web.app import create
from app.web.webhooks.twilio import TWIML
from tests.helpers import web
from tests.helpers.support import scalar
from tests.helpers.twilio_line import PUBLIC_URL, make_line, post, signed_with
from tests.helpers.waits import until_somebody_waits

_HOLD = "LOCK TABLE messaging.users IN ACCESS EXCLUSIVE MODE"
_TERMINATE = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tallyman web'"


@pytest.fixture
def application(database: Database, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application under a public URL."""
    monkeypatch.setenv("TALLYMAN_PUBLIC_URL", PUBLIC_URL)
    settings_.settings.cache_clear()
    return create()


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    """A connection that may change tables and end sessions."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        yield connection


@contextmanager
def refusing(owner: Connection, checks: Mapping[str, str]) -> Iterator[None]:
    """Let tables refuse rows that do not pass a check."""
    with ExitStack() as stack:
        for table, check in checks.items():
            add, drop = (
                f"ALTER TABLE {table} {change}"
                for change in (f"ADD CONSTRAINT fault CHECK ({check})", "DROP CONSTRAINT fault")
            )
            owner.execute(add)
            stack.callback(owner.execute, drop)
        yield


def counts(connection: Connection) -> dict[str, Any]:
    """Return the numbers of people, jobs, events of jobs in the queue, and dead letters."""
    return {
        "users": scalar(connection, "SELECT count(*) FROM messaging.users"),
        "jobs": scalar(connection, "SELECT count(*) FROM messaging.jobs"),
        "events": scalar(connection, "SELECT count(*) FROM engine.queue_rows, LATERAL jsonb_array_elements(events)"),
        "letters": scalar(connection, "SELECT count(*) FROM engine.failed_jobs"),
    }


def test_a_message_is_answered_once_it_is_durable(client: web.TestClient, connection: Connection) -> None:
    """User, job and event are committed with the answer, which is empty TwiML."""
    line, _ = make_line(connection)
    answer = post(client, line, twilio.sms(line, "+573001112233", "Hola, ¿está mi envío?"))
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, "text/xml; charset=utf-8", TWIML)
    assert counts(connection) == {"users": 1, "jobs": 1, "events": 1, "letters": 0}


def test_the_same_message_while_the_first_is_handled(served: httpx.Client, connection: Connection) -> None:
    """The second request waits for the first one's transaction and makes no second job. Both are answered with 200."""
    line, _ = make_line(connection)
    fields = twilio.whatsapp(line, "+573001112233", "hola")
    with ThreadPoolExecutor(2) as threads, doors.connect() as holder:
        holder.execute(_HOLD)
        answers = [threads.submit(post, served, line, fields)]
        until_somebody_waits(connection, 1)
        answers.append(threads.submit(post, served, line, fields))
        until_somebody_waits(connection, 2)
        holder.rollback()
    assert [one.result().status_code for one in answers] == [200, 200]
    assert counts(connection) == {"users": 1, "jobs": 1, "events": 1, "letters": 0}


def test_replayed_and_shuffled_messages_have_their_effect_once(served: httpx.Client, connection: Connection) -> None:
    """200 messages of 40 people, each posted five times in any order by eight clients at once: 200 jobs."""
    line, _ = make_line(connection)
    chance = random.Random(200)
    senders = [f"+57300111{n:04}" for n in range(20)]
    messages: list[twilio.Form] = [
        *(twilio.sms(line, chance.choice(senders), f"mensaje {n} é") for n in range(80)),
        *(twilio.whatsapp(line, chance.choice(senders), f"mensaje {n} 😀") for n in range(60)),
        *(twilio.whatsapp(line, f"CO.{n % 20:012}", "sin número") for n in range(40)),
        *(twilio.with_media(twilio.sms(line, chance.choice(senders), ""), "image/png") for _ in range(20)),
    ]
    posts = messages * 5
    chance.shuffle(posts)
    with ThreadPoolExecutor(8) as threads:
        answers: list[Future[httpx.Response]] = [threads.submit(post, served, line, one) for one in posts]
    assert {one.result().status_code for one in answers} == {200}
    assert counts(connection) == {"users": 40, "jobs": 200, "events": 200, "letters": 0}


def test_a_rotation_loses_no_message(client: web.TestClient, connection: Connection) -> None:
    """Messages that are signed with either auth token are taken until the old one is retired."""
    line, endpoint = make_line(connection)
    new = signed_with(line, "0123456789abcdef-the-new-one")

    def statuses() -> list[int]:
        return [post(client, one, twilio.sms(one, "+573001112233", "hola")).status_code for one in (line, new)]

    assert statuses() == [200, 403]
    rotate_auth_token(connection, endpoint.id, new.secret)
    assert statuses() == [200, 200]
    assert counts(connection)["jobs"] == 3
    with settings_.using(webhook_freshness=0):
        retire_auth_token(connection, endpoint.id)
        assert statuses() == [403, 200]
        switch_endpoint(connection, endpoint.id, enabled=False)
        assert statuses() == [403, 403]


def test_any_other_request_is_refused_in_one_form(client: web.TestClient, connection: Connection) -> None:
    """Changed, unsigned or malformed, or for an unknown endpoint: 403, with one document, and nothing is stored."""
    line, _ = make_line(connection)
    fields = twilio.sms(line, "+573001112233", "hola")
    path, headers = line.url.removeprefix(PUBLIC_URL), twilio.headers(line, fields)
    body = twilio.encoded(fields)
    refused = [
        post(client, line, {**fields, "Body": "adiós"}, signed=fields),
        client.post(path, content=body),
        client.post(path + "x", content=body, headers=headers),
        client.post(path + "?x=1", content=body, headers=headers),
        client.post(path.replace("twilio/", "twilio/%41"), content=body, headers=headers),
        client.post(path, content=b"\xff\x00", headers=headers),
        client.post(path, content=b"", headers=headers),
        client.post(path, json=fields, headers={"X-Twilio-Signature": headers["X-Twilio-Signature"]}),
        client.post(path, files={"Body": b"x"}, headers={"X-Twilio-Signature": headers["X-Twilio-Signature"]}),
        client.post(path, content=body, headers={**headers, "X-Twilio-Signature": "ñ".encode("latin-1")}),
    ]
    assert {(one.status_code, one.text) for one in refused} == {(403, refused[0].text)}
    assert counts(connection) == {"users": 0, "jobs": 0, "events": 0, "letters": 0}


def test_a_field_that_is_not_known_refuses_a_message_but_keeps_it(
    client: web.TestClient, connection: Connection
) -> None:
    """If a new field of Twilio's could be the end of a text, the message is refused and is a dead letter, once."""
    line, _ = make_line(connection)
    fields = {**twilio.sms(line, "+573001112233", "hola"), "ContentSurprise": "1"}
    for _ in range(2):
        assert post(client, line, fields).status_code == 403
    assert counts(connection) == {"users": 0, "jobs": 0, "events": 0, "letters": 1}
    message = scalar(connection, "SELECT error_message FROM engine.failed_jobs")
    assert message == "Body: its text could be read as the field ContentSurprise"


def test_a_message_that_cannot_be_handled_is_kept(
    client: web.TestClient, connection: Connection, owner: Connection
) -> None:
    """If our own handling fails, the payload is a dead letter and the answer is 200. The letter has all fields."""
    line, _ = make_line(connection)
    fields = twilio.whatsapp(line, "+573001112233", "hola", profile_name="Ana")
    with refusing(owner, {"messaging.users": "first_name <> 'Ana'"}):
        for _ in range(2):
            answer = post(client, line, fields)
            assert (answer.status_code, answer.text) == (200, TWIML)
    assert counts(connection) == {"users": 0, "jobs": 0, "events": 0, "letters": 1}
    assert scalar(connection, "SELECT job_type FROM engine.failed_jobs") == "message/webhook"
    kept = scalar(connection, "SELECT event_data #> '{data,fields}' FROM engine.failed_jobs")
    assert sorted((one["name"], one["value"]) for one in kept) == sorted(fields.items())


def test_a_message_that_cannot_even_be_kept_is_not_confirmed(
    client: web.TestClient, connection: Connection, owner: Connection
) -> None:
    """Without the job and without the dead letter the answer is 503: a 200 would lose the message."""
    line, _ = make_line(connection)
    faults = {"messaging.users": "first_name <> 'Ana'", "engine.failed_jobs": "job_type <> 'message/webhook'"}
    with refusing(owner, faults):
        answer = post(client, line, twilio.whatsapp(line, "+573001112233", "hola", profile_name="Ana"))
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert counts(connection) == {"users": 0, "jobs": 0, "events": 0, "letters": 0}


def test_a_lost_connection_is_not_confirmed(client: web.TestClient, connection: Connection, owner: Connection) -> None:
    """If the database goes away in the middle, the answer is 503. The message is a job when it is posted again."""
    line, _ = make_line(connection)
    fields = twilio.sms(line, "+573001112233", "hola")
    with ThreadPoolExecutor(1) as threads, doors.connect() as holder:
        holder.execute(_HOLD)
        answer = threads.submit(post, client, line, fields)
        until_somebody_waits(connection)
        owner.execute(_TERMINATE)
        assert answer.result().status_code == 503
    assert post(client, line, fields).status_code == 200
    assert counts(connection) == {"users": 1, "jobs": 1, "events": 1, "letters": 0}


def test_without_a_database_nothing_is_confirmed(
    client: web.TestClient, connection: Connection, owner: Connection, database: Database
) -> None:
    """While no connection can be opened, the answer is 503, and soon enough for Twilio."""
    line, _ = make_line(connection)
    fields = twilio.sms(line, "+573001112233", "hola")
    name = sql.Identifier(database.name)
    owner.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(name))
    try:
        owner.execute(_TERMINATE)
        with settings_.using(webhook_patience=0.2):
            assert post(client, line, fields).status_code == 503
    finally:
        owner.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT -1").format(name))
    assert post(client, line, fields).status_code == 200
    assert counts(connection) == {"users": 1, "jobs": 1, "events": 1, "letters": 0}


def test_the_token_of_an_endpoint_is_not_logged(client: web.TestClient, connection: Connection) -> None:
    """The log has the path of the route. Other methods and paths are answered as everywhere."""
    line, _ = make_line(connection)
    path = line.url.removeprefix(PUBLIC_URL)
    with capture_logs() as lines:
        assert post(client, line, twilio.sms(line, "+573001112233", "hola")).status_code == 200
        assert client.get(path).status_code == 405
        assert client.post(f"{path}/more").status_code == 404
    routes = [(one["route"], one["status"]) for one in lines if one["event"] == "request"]
    assert routes == [
        ("/webhooks/twilio/{endpoint_token}", 200),
        (None, 405),
        (None, 404),
    ]
    assert path.rpartition("/")[2] not in str(lines)
