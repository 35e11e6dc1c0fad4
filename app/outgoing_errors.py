"""Errors of outgoing HTTP requests.

    OutgoingError            has `maybe_sent`: whether the other side may have received the request
    ├── BadAddress           the address is not an http or https URL; not sent
    ├── NotConnected         refused, unknown host, TLS or proxy handshake failed, no connection in time; not sent
    │   └── AddressRefused   the client's `reach` does not allow an address of the host; not sent
    ├── NoAnswer             no complete answer within the limit; maybe sent
    ├── ConnectionLost       the connection broke, or the answer is not HTTP; maybe sent
    └── UnreadableAnswer     the body cannot be decoded; maybe sent
        └── AnswerTooLarge   the body is larger than the client's limit; maybe sent

Messages never contain a header, a body, or the path and query of an address.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from app.errors import TallymanError
from app.outgoing_guard import NotAllowed


class OutgoingError(TallymanError):
    """A request failed. `maybe_sent`: the other side may have received it."""

    maybe_sent = True


class BadAddress(OutgoingError):
    """The address is not an http or https URL."""

    maybe_sent = False


class NotConnected(OutgoingError):
    """No connection was made, so nothing was sent."""

    maybe_sent = False


class AddressRefused(NotConnected):
    """An address of the host is private, local or reserved, and not in an allowed network."""


class NoAnswer(OutgoingError):
    """No complete answer within the time limit."""


class ConnectionLost(OutgoingError):
    """The connection broke before the answer was complete, or the answer is not HTTP."""


class UnreadableAnswer(OutgoingError):
    """The body cannot be decompressed as its headers say."""


class AnswerTooLarge(UnreadableAnswer):
    """The body of the answer is larger than the client's limit."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise aiohttp's errors, and those of the guard, as an `OutgoingError`."""
    # `from None` if aiohttp's message quotes the address, the request's headers or the answer.
    try:
        yield
    except NotAllowed as error:
        raise _not_connected(error) from None
    except aiohttp.InvalidURL:  # for example the host 127.1, which is no canonical IPv4 address
        raise BadAddress("the address is not an http or https URL") from None
    except aiohttp.ClientHttpProxyError as error:
        raise NotConnected(f"no connection: the proxy answered {error.status}") from None
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise _not_connected(getattr(error, "os_error", None)) from error
    except TimeoutError as error:
        raise NoAnswer("no answer in time") from error
    except aiohttp.ClientPayloadError as error:
        raise _broken_body(error) from None
    except aiohttp.ClientResponseError:
        raise ConnectionLost("the connection broke: the answer is not HTTP") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionLost(f"the connection broke: {type(error).__name__}") from error


def _broken_body(error: aiohttp.ClientPayloadError) -> OutgoingError:
    if isinstance(error.__cause__, ContentEncodingError):
        return UnreadableAnswer("cannot read the answer: its compression does not match its headers")
    return ConnectionLost("the connection broke: the answer is incomplete")


def _not_connected(cause: OSError | None) -> NotConnected:
    return AddressRefused(f"no connection: {cause}") if isinstance(cause, NotAllowed) else NotConnected("no connection")
