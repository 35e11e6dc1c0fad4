"""A portal that answers for another order: the outcome is unknown, so the call is in doubt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.logistics.gateway import Account, Credentials, PortalProtocolError
from app.logistics.http_portal import HttpPortal
from tests.helpers.order_forms import form

_ANOTHER = {"reference": "another", "tracking_number": "T-1", "city": "BOGOTA (C/MARCA)"}


@asynccontextmanager
async def answering(**answers: Any) -> AsyncIterator[str]:
    """Serve fixed answers by the last part of the path. Yields the address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1].decode().rpartition("/")[2]
        status, content = answers[path]
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def test_an_answer_for_another_order_is_no_success() -> None:
    """The order may have been entered all the same."""
    gateway = HttpPortal()
    async with answering(login=(200, {"session": "s"}), orders=(201, _ANOTHER)) as url:
        account = Account(uuid4(), url, Credentials("demo", SecretStr("demo-password")), timeout=5)
        with pytest.raises(PortalProtocolError, match="another order") as caught:
            await gateway.enter(account, form("r1"))
        await gateway.aclose()
    assert caught.value.maybe_entered
