"""URLs of endpoints: which ones may be registered. A name's addresses are checked at each request, by the client."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from app.addresses import Reach
from app.errors import InvalidInput
from app.settings import settings
from app.webhooks import sender

_MOST_CHARS = 2000


def check(url: str) -> None:
    """Raise `InvalidInput` for a URL that no request may go to, and `SetupError` for a wrong setting."""
    host = _split(url).hostname or ""
    is_allowed = _is_allowed(host)
    if is_allowed is False:
        raise InvalidInput(
            "url: must not have a private, local or reserved address; an operator can allow its network with"
            " TALLYMAN_WEBHOOK_NETWORKS"
        )
    # A literal address that is allowed and not public is in one of the operator's networks.
    is_own = is_allowed and not Reach().allows(host)
    if not url.startswith("https:") and not is_own and not settings().webhook_http:
        raise InvalidInput("url: must begin with https://; an operator can allow http with TALLYMAN_WEBHOOK_HTTP")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading the port is what checks it
    except ValueError:
        raise InvalidInput("url: must be like https://example.org/hooks") from None
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _MOST_CHARS
    is_http = parts.scheme in {"http", "https"} and bool(parts.hostname)
    if not is_plain or not is_http or "@" in parts.netloc or parts.fragment:
        raise InvalidInput("url: must be like https://example.org/hooks, without user and fragment")
    return parts


def _is_allowed(host: str) -> bool | None:
    """Whether an IP address may be connected to; None for a name."""
    try:
        ip_address(host)
    except ValueError:
        return None
    return sender.reach().allows(host)
