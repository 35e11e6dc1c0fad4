"""The demo of messages: what Twilio would post, signed by Twilio's own library, against the running web application."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from pydantic import SecretStr

from app import database
from app.demo import processes
from app.errors import TallymanError
from app.messaging.endpoints import add_endpoint
from app.messaging.messages import Job, show_message
from app.simulators import twilio
from app.simulators.twilio import Form, Line

PUBLIC_URL = "https://hooks.example.com"
"""What Twilio calls and signs. The demo posts to the loopback interface instead, as a proxy would."""
_PATIENCE_S = 20.0
_LOOK_S = 0.1

Say = Callable[[str], None]


def act(say: Say) -> dict[str, Any]:
    """Post messages and wait for their jobs. Workers must be running. Returns the summary for `--json`."""
    line = _line()
    messages = _messages(line)
    with (
        processes.web({"TALLYMAN_PUBLIC_URL": PUBLIC_URL}) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        say(f"\nWeb application: {url}; its public URL, which Twilio signs: {PUBLIC_URL}")
        confirmed = sum(_post(client, line, one) for one in [*messages, messages[0]])
        changed = {**messages[0], "Body": "changed on the way"}
        refused = 1 - _post(client, line, changed, signed=messages[0])
    say(
        f"Posted {len(messages)} messages and one of them again: {confirmed} confirmed."
        f" One was changed: {refused} refused"
    )
    jobs = _ended([str(one["MessageSid"]) for one in messages])
    for job in jobs:
        say(f"  {job.source_type:<5}  {job.user_id:<34}  {job.content_type or '':<8}  {job.status}")
    people = len({job.user_id for job in jobs})
    say(f"{len(jobs)} jobs of {people} people")
    return {"messages_posted": len(messages), "message_jobs": len(jobs), "people": people, "refused": refused}


def _line() -> Line:
    account_sid, secret = twilio.sid("AC"), SecretStr(secrets.token_hex(16))
    with database.connect() as connection:
        _, token = add_endpoint(connection, account_sid, secret)
    return Line(f"{PUBLIC_URL}/webhooks/twilio/{token.get_secret_value()}", account_sid, secret)


def _messages(line: Line) -> list[Form]:
    number = f"+52155{secrets.randbelow(10**8):08}"  # as WhatsApp writes a Mexican mobile
    plain = number.replace("+521", "+52")
    return [
        twilio.sms(line, plain, "Hola, ¿dónde está mi pedido?"),
        twilio.whatsapp(line, number, "https://example.com/pedido/7"),
        twilio.whatsapp(line, number, "", Latitude="19.4326", Longitude="-99.1332", MessageType="location"),
        twilio.with_media(twilio.whatsapp(line, number, "", MessageType="image"), "image/jpeg"),
        twilio.whatsapp(line, f"CO.{secrets.randbelow(10**15):015}", "Soy Ana, sin número", profile_name="Ana"),
        twilio.in_conversation(line, plain, "¿Quién recibe el paquete?", others=["+573001112233"]),
    ]


def _post(client: httpx.Client, line: Line, fields: Form, *, signed: Form | None = None) -> int:
    """Post a message. Returns 1 if it is confirmed, 0 if it is refused."""
    path = line.url.removeprefix(PUBLIC_URL)
    answer = client.post(path, content=twilio.encoded(fields), headers=twilio.headers(line, signed or fields))
    if answer.status_code not in {200, 403}:
        raise TallymanError(f"the web application answered {answer.status_code}: {answer.text}")
    return int(answer.is_success)


def _ended(message_ids: Sequence[str]) -> list[Job]:
    """Wait until the jobs of messages have ended. Raises `TallymanError` after 20 seconds."""
    end = time.monotonic() + _PATIENCE_S
    with database.connect(autocommit=True) as connection:
        while True:
            jobs = [show_message(connection, message_id)[0] for message_id in message_ids]
            if all(job.completed_at for job in jobs):
                return jobs
            if time.monotonic() > end:
                raise TallymanError(f"{len(jobs)} message jobs did not end within {_PATIENCE_S:g} s")
            time.sleep(_LOOK_S)
