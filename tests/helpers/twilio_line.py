"""A line at Twilio for tests: an endpoint, and messages that are signed for it."""

from __future__ import annotations

from dataclasses import replace

import httpx
from pydantic import SecretStr

from app.context import Connection
from app.messaging.endpoints import Endpoint, add_endpoint
from app.simulators import twilio
from app.simulators.twilio import Form, Line

PUBLIC_URL = "https://hooks.example.com/in"
"""The public URL of the application under test."""


def make_line(connection: Connection, secret: str = "0123456789abcdef-auth-token") -> tuple[Line, Endpoint]:
    """Add an endpoint. Returns the line that posts to it, and the endpoint."""
    account_sid = twilio.sid("AC")
    endpoint, token = add_endpoint(connection, account_sid, SecretStr(secret))
    url = f"{PUBLIC_URL}/webhooks/twilio/{token.get_secret_value()}"
    return Line(url, account_sid, SecretStr(secret)), endpoint


def signed_with(line: Line, secret: str) -> Line:
    """Return the line as it signs with another auth token."""
    return replace(line, secret=SecretStr(secret))


def post(client: httpx.Client, line: Line, fields: Form, *, signed: Form | None = None) -> httpx.Response:
    """Post a message as Twilio does. `signed`: the fields that are signed, by default those that are posted."""
    path = line.url.removeprefix(PUBLIC_URL)
    return client.post(path, content=twilio.encoded(fields), headers=twilio.headers(line, signed or fields))
