"""URLs of endpoints: public and encrypted, unless the operator allows more."""

from __future__ import annotations

import pytest

from app.errors import InvalidInput
from app.settings import using
from app.webhooks import urls

HTTPS = "https://example.org/hooks?shop=1"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must be like"),
        ("example.org/hooks", "must be like"),
        ("ftp://example.org/", "must be like"),
        ("https:///hooks", "must be like"),
        ("https://ana:secret@example.org/", "without user"),
        ("https://example.org/#top", "without user and fragment"),
        ("https://example.org/a b", "must be like"),
        ("https://example.org/\x1b", "must be like"),
        ("https://exämple.org/", "must be like"),
        ("https://example.org:x/", "must be like"),
        ("https://[::1/", "must be like"),
        (f"https://example.org/{'a' * 2000}", "must be like"),
        ("http://example.org/", "must begin with https://"),
        ("https://127.0.0.1/", "private, local or reserved"),
        ("https://[::ffff:10.0.0.1]/", "private, local or reserved"),
        ("https://169.254.169.254/latest", "private, local or reserved"),
        ("http://1.1.1.1/", "must begin with https://"),
    ],
)
def test_a_wrong_url_is_refused(url: str, message: str) -> None:
    """With the remedy, and no part of a password in the message."""
    with pytest.raises(InvalidInput, match=message) as caught:
        urls.check(url)
    assert "secret" not in str(caught.value)


def test_the_operator_allows_http_and_networks() -> None:
    """Http in an allowed network, else everywhere or nowhere."""
    urls.check(HTTPS)
    urls.check("https://1.1.1.1:8443/")
    with using(webhook_networks="127.0.0.0/8"):
        urls.check("http://127.0.0.1:8080/")
        for url in ("http://10.0.0.1/", "http://example.org/"):
            with pytest.raises(InvalidInput):
                urls.check(url)
    with using(webhook_http=True):
        urls.check("http://example.org/")
        with pytest.raises(InvalidInput, match="private"):
            urls.check("http://127.0.0.1/")
