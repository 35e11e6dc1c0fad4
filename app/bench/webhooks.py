"""`bench webhooks`: messages of Twilio taken by the web application, beside a bare FastAPI handler with one INSERT."""

from __future__ import annotations

import base64
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from psycopg import sql
from pydantic import SecretStr

from app.bench import bare_webhooks, http_load
from app.bench.conditions import conditions
from app.bench.http_load import Answers
from app.bench.job_fixtures import NotExact
from app.bench.processes import running
from app.bench.report import Report
from app.bench.rounds import Claim, Measured, alternate_all
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.messaging.endpoints import add_endpoint
from app.settings import using
from app.simulators import twilio
from app.simulators.twilio import Line

PACE = 200
"""Messages a second of the paced run."""
PACED = 12_000
"""Messages of the paced run: a minute's."""
FAST = 6_000
"""Messages of the run at the highest rate."""
SENDERS = 1_000
"""People who send the messages: each sends several, as most do."""
CONNECTIONS = 32
PATIENCE_S = 30.0
LOOK_S = 0.05
PUBLIC_URL = "https://hooks.example.com"
OURS, BARE = "Tallyman", "bare FastAPI, one INSERT"

_TAKEN = """
SELECT (SELECT count(*) FROM messaging.jobs),
       (SELECT count(*) FROM engine.queue_rows r, LATERAL jsonb_array_elements(r.events) e
         WHERE e ->> 'type' = 'message/job.submitted')
"""
_EMPTY = sql.SQL("TRUNCATE bare_webhooks, messaging.users, public.procrastinate_jobs CASCADE")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    temp_database: TemporaryDatabase
    line: Line
    keys: str = field(repr=False)
    scale: float

    def ours(self) -> Sequence[float]:
        """Return the highest rate, then p50 and p99 at the pace, of the program. Raises `NotExact` for a loss."""
        self.temp_database.arrange(_EMPTY)
        own = {"TALLYMAN_PUBLIC_URL": PUBLIC_URL, "TALLYMAN_KEYS": self.keys}
        environment = {**self.temp_database.environment(), **own}
        with _served([sys.executable, "cli.py", "serve", "--port"], environment) as port:
            figures = self._measure(port, self._message)
        self._check()
        return figures

    def bare(self) -> Sequence[float]:
        """Return the same of the bare handler."""
        self.temp_database.arrange(_EMPTY)
        command = [sys.executable, "-m", bare_webhooks.__name__]
        with _served(command, self.temp_database.environment()) as port:
            figures = self._measure(port, self._bare_message)
        with self.temp_database.connect() as connection:
            (stored,) = connection.execute("SELECT count(*) FROM bare_webhooks").fetchone() or (0,)
        if stored != self.messages:
            raise NotExact(f"{self.messages} messages were posted, {stored} are stored")
        return figures

    @property
    def messages(self) -> int:
        """How many messages a run posts."""
        return scaled(FAST, self.scale) + scaled(PACED, self.scale)

    def _measure(self, port: int, message: Callable[[int], bytes]) -> Sequence[float]:
        requests = [message(n) for n in range(self.messages)]
        fast = scaled(FAST, self.scale)
        highest = _confirmed(http_load.as_fast_as_possible(port, requests[:fast], CONNECTIONS))
        paced = _confirmed(http_load.at_a_pace(port, requests[fast:], CONNECTIONS, PACE))
        return highest.rate, *paced.percentiles()

    def _message(self, number: int) -> bytes:
        return self._request(urlsplit(self.line.url).path, number)

    def _bare_message(self, number: int) -> bytes:
        return self._request(bare_webhooks.PATH, number)

    def _request(self, path: str, number: int) -> bytes:
        fields = twilio.whatsapp(self.line, f"+57300{number % SENDERS:07}", f"mensaje {number}: ¿llegó mi envío?")
        return http_load.request(path, twilio.headers(self.line, fields), twilio.encoded(fields))

    def _check(self) -> None:
        with self.temp_database.connect() as connection:
            jobs, events = connection.execute(_TAKEN).fetchone() or (0, 0)
        if (jobs, events) != (self.messages, self.messages):
            raise NotExact(f"{self.messages} messages were posted: there are {jobs} jobs and {events} events")


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure both contenders with `scale` times the usual number of messages."""
    keys = f"bench:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    with temporary_database() as made, using(keys=SecretStr(keys)):
        with made.connect() as connection:
            where = conditions(connection)
            _, token = add_endpoint(connection, account_sid := twilio.sid("AC"), secret := SecretStr("0" * 32))
        line = Line(f"{PUBLIC_URL}/webhooks/twilio/{token.get_secret_value()}", account_sid, secret)
        made.arrange(sql.SQL(bare_webhooks.TABLE), sql.SQL("GRANT ALL ON bare_webhooks TO service_role"))
        stage = _Stage(made, line, keys, scale)
        say(f"{stage.messages} messages a run, on {CONNECTIONS} connections")
        figures = [("highest rate", "messages/s"), (f"{PACE} a second: p50", "ms"), (f"{PACE} a second: p99", "ms")]
        found = alternate_all(figures, {OURS: stage.ours, BARE: stage.bare}, rounds)
    return Report("webhooks", where, [one for both in found.values() for one in both], _claims(found), _NOTES)


_NOTES = (
    "a message is answered once it is durable; after each run each message is one job and one event, and none is lost",
    "ours: `cli.py serve` verifies the signature and commits sender, job and event; the bare handler checks nothing",
    (
        "both: one process of uvicorn; the load comes from another process of the same machine over"
        f" {CONNECTIONS} kept connections; no worker runs"
    ),
    "a wait at the pace counts from when the message was due, also if no connection was free",
)


def _claims(found: dict[str, list[Measured]]) -> list[Claim]:
    ours, bare = found[OURS], found[BARE]
    return [
        Claim("highest rate: Tallyman ÷ bare", ours[0].median / bare[0].median, least=0.5),
        Claim("p50: Tallyman ÷ bare", ours[1].median / bare[1].median),
        Claim("p99: Tallyman ÷ bare", ours[2].median / bare[2].median),
    ]


def _confirmed(answers: Answers) -> Answers:
    """Raise `NotExact` unless every message was answered with 200."""
    if set(answers.statuses) != {HTTPStatus.OK}:
        raise NotExact(f"answers by status: {answers.statuses}")
    return answers


@contextmanager
def _served(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[int]:
    """Run a server during the block. Yields its port. Raises `NotExact` if it does not listen within 30 s."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with running([*command, str(port)], environment):
        end = time.monotonic() + PATIENCE_S
        while not _listens(port):
            if time.monotonic() > end:
                raise NotExact(f"the server did not listen within {PATIENCE_S:g} s")
            time.sleep(LOOK_S)
        yield port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
