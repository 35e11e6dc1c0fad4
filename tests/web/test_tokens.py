"""Tokens: which are accepted, and why others are refused. Pure, but for keys that a server on loopback publishes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.errors import InvalidInput, SetupError
from app.settings import Settings, settings, using
from app.web.tokens import Refused, Verifier, issue, secret_of

USER = UUID(int=5)
SECRET = "s" * 32
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ROTATED = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of an accepted token with these changes. None: without the claim."""
    given = {"sub": str(USER), "aud": "authenticated", "exp": time.time() + 60, **changes}
    return {name: value for name, value in given.items() if value is not None}


def given(**values: Any) -> Settings:
    """Return settings with these values."""
    with using(**values):
        return settings()


def by_secret(**values: Any) -> Verifier:
    """Return a verifier of HS256 tokens."""
    return Verifier.of(given(token_secret=SECRET, **values))


def test_a_token_names_its_person() -> None:
    """`issue` makes a token that the verifier accepts, with the issuer if one is set."""
    one = given(token_secret=SECRET, token_issuer="https://issuer.example.org")
    assert Verifier.of(one).verify(issue(one, USER)).user_id == USER


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": time.time() - 60}, "the token has expired"),
    "no end": ({"exp": None}, "the token has no claim exp"),
    "no audience": ({"aud": None}, "the token has no claim aud"),
    "no person": ({"sub": None}, "the token has no claim sub"),
    "of others": ({"aud": "anon"}, r"audience \(aud\) is not authenticated"),
    "of another issuer": ({"iss": "https://evil.example.org"}, r"of another issuer \(iss\)"),
    "not yet": ({"nbf": time.time() + 86_400, "iss": "me"}, "the token is not valid"),
    "person is no id": ({"sub": "ana", "iss": "me"}, "it must be a UUID"),
    "person is a number": ({"sub": 7, "iss": "me"}, "the token is not valid"),
    "end is text": ({"exp": "later", "iss": "me"}, "the token is not valid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_token_with_wrong_claims_is_refused(name: str) -> None:
    """Each with its reason."""
    changes, why = REFUSED[name]
    token = jwt.encode(claims(**{"iss": "me", **changes}), SECRET, algorithm="HS256")
    with pytest.raises(Refused, match=why):
        by_secret(token_issuer="me").verify(token)


def _unsigned(algorithm: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, claims())
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return f"{head}.{body}."


def _by_public_key() -> str:
    # PyJWT itself refuses to sign with a PEM key, so the signature is made by hand.
    import hashlib  # noqa: PLC0415 - for this forgery only
    import hmac  # noqa: PLC0415 - the same

    start = _unsigned("HS256").rpartition(".")[0]
    signature = hmac.digest(PUBLIC_PEM, start.encode(), hashlib.sha256)
    return f"{start}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c",
        "x" * 9000,
        _unsigned("none"),
        _unsigned("HS256"),
        _by_public_key(),
        jwt.encode(claims(), "t" * 32, algorithm="HS256"),
        jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
        jwt.encode(claims(), RSA, algorithm="RS256"),
        jwt.encode(claims(), SECRET, algorithm="HS256")[:-2],
    ],
)
def test_a_token_with_a_wrong_signature_or_algorithm_is_refused(token: str) -> None:
    """Also one that a public key signed as if it were the secret, and one without a signature."""
    with pytest.raises(Refused):
        by_secret().verify(token)


@pytest.fixture
def issuer() -> Iterator[tuple[str, list[Any]]]:
    """Publish keys on loopback. Yields the URL and the published keys, which a test may change."""
    published = [("rsa", RSA.public_key()), ("ec", EC.public_key())]

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kinds: dict[str, Any] = {"rsa": jwt.algorithms.RSAAlgorithm, "ec": jwt.algorithms.ECAlgorithm}
            keys = [
                {**kinds[kid.split("-")[0]].to_jwk(key, as_dict=True), "kid": kid, "use": "sig"}
                for kid, key in published
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": keys}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/keys", published
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_published_keys_verify_their_own_algorithms(
    issuer: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RS256 and ES256. No HS256 token, and no token of another key. A key that is new is fetched after the cooldown."""
    url, published = issuer
    verifier = Verifier.of(given(token_jwks_url=url))
    assert verifier.verify(jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "rsa"})).user_id == USER
    assert verifier.verify(jwt.encode(claims(), EC, algorithm="ES256", headers={"kid": "ec"})).user_id == USER
    new = jwt.encode(claims(), ROTATED, algorithm="ES256", headers={"kid": "ec-2"})
    for token in (
        jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "ec"}),
        jwt.encode(claims(), EC, algorithm="ES256", headers={"kid": "rsa"}),
        jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "rsa"}),
        jwt.encode(claims(), RSA, algorithm="RS256"),
        new,
    ):
        with pytest.raises(Refused):
            verifier.verify(token)
    published.append(("ec-2", ROTATED.public_key()))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 4)
    assert verifier.verify(new).user_id == USER


def test_keys_that_cannot_be_fetched_are_no_verdict_on_the_token() -> None:
    """The caller is told to try again."""
    token = jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "rsa"})
    with pytest.raises(ConnectionError):
        Verifier.of(given(token_jwks_url="http://127.0.0.1:9/keys")).verify(token)


def test_settings_that_cannot_be_used_are_named(tmp_path: Any) -> None:
    """A short secret, a URL that is none, a secret that is missing. The embedded server has a secret of its own."""
    with pytest.raises(SetupError, match="TALLYMAN_TOKEN_SECRET: has 5 bytes, at least 32"):
        Verifier.of(given(token_secret="short"))
    with pytest.raises(SetupError, match="TALLYMAN_TOKEN_JWKS_URL"):
        Verifier.of(given(token_jwks_url="file:///etc/passwd"))
    with pytest.raises(SetupError, match="TALLYMAN_TOKEN_SECRET is not set"):
        issue(given(database_url="postgresql://x", token_secret=None), USER)
    with pytest.raises(InvalidInput, match="minutes: must be positive"):
        issue(given(token_secret=SECRET), USER, minutes=0)
    own = given(database_url=None, token_secret=None, home=tmp_path)
    assert secret_of(own) == secret_of(own)
    assert Verifier.of(own).verify(issue(own, USER)).user_id == USER
