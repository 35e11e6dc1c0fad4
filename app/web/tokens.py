"""Bearer tokens: JSON Web Tokens that name a person, verified with a shared secret or with published keys.

HS256 tokens are verified with TALLYMAN_TOKEN_SECRET, RS256 and ES256 tokens with the keys at TALLYMAN_TOKEN_JWKS_URL.
The algorithm of a token decides which, so a public key is never used as a shared secret.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from app import sealing
from app.errors import InvalidInput, SetupError
from app.settings import Settings

_BY_SECRET = ("HS256",)
_BY_KEYS = ("RS256", "ES256")
_REQUIRED = ("exp", "aud", "sub")
_LEEWAY_S = 5
"""Accepted difference between the clocks of this host and of the issuer."""
_SHORTEST_SECRET = 32
"""Bytes of an HS256 secret, by RFC 7518, section 3.2."""
_LONGEST_TOKEN = 8192
_LATEST = 2**53
"""A bound of `exp`, which may be any number: floating-point numbers hold all integers up to it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A verified token. `expires_at`: seconds since the epoch (`exp`)."""

    user_id: UUID
    expires_at: int


class Refused(Exception):
    """A token is not accepted. The message says why, without parts of the token."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies tokens. `secret`: for HS256; `keys`: for RS256 and ES256. Without either, no token is accepted."""

    audience: str
    issuer: str | None = None
    secret: bytes | None = None
    keys: jwt.PyJWKClient | None = None

    @classmethod
    def of(cls, given: Settings) -> Verifier:
        """Return the verifier that the settings name. Raises `SetupError` for a short secret or a bad URL."""
        keys = None
        if given.token_jwks_url:
            try:
                # PyJWT fetches no unknown key within the cooldown: a fresh key of the issuer is accepted after 3 s.
                keys = jwt.PyJWKClient(given.token_jwks_url, cache_keys=True, cooldown_duration=3, timeout=3)
            except jwt.PyJWKClientError as error:
                raise SetupError(f"TALLYMAN_TOKEN_JWKS_URL: {error}") from None
        return cls(given.token_audience, given.token_issuer, secret_of(given), keys)

    def verify(self, token: str) -> Token:
        """Return the person that a token names, and its end. May fetch keys: call it in a thread. Raises `Refused`."""
        try:
            algorithm = _algorithm(token)
            key, algorithms = self._key(token, algorithm)
            claims = jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                audience=self.audience,
                issuer=self.issuer,
                leeway=_LEEWAY_S,
                options={"require": list(_REQUIRED), "strict_aud": False},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise ConnectionError("the keys of the tokens' issuer cannot be fetched") from error
        except jwt.ExpiredSignatureError:
            raise Refused("the token has expired") from None
        except jwt.MissingRequiredClaimError as error:
            raise Refused(f"the token has no claim {error.claim}") from None
        except jwt.InvalidAudienceError:
            raise Refused(f"the token's audience (aud) is not {self.audience}") from None
        except jwt.InvalidIssuerError:
            raise Refused("the token is of another issuer (iss)") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Refused("the token is not valid") from None
        return Token(_subject(claims), min(int(claims["exp"]), _LATEST))

    def _key(self, token: str, algorithm: str) -> tuple[Any, tuple[str, ...]]:
        if algorithm in _BY_SECRET and self.secret is not None:
            return self.secret, _BY_SECRET
        if algorithm in _BY_KEYS and self.keys is not None:
            return self.keys.get_signing_key_from_jwt(token).key, (algorithm,)
        raise Refused("the token's algorithm is not accepted here")


def secret_of(given: Settings) -> bytes | None:
    """Return the secret of HS256 tokens. Without settings, the embedded server's secret; None: there is none.

    Raises `SetupError` for a secret of less than 32 bytes.
    """
    if given.token_secret is not None:
        secret = given.token_secret.get_secret_value().encode()
        if len(secret) < _SHORTEST_SECRET:
            raise SetupError(f"TALLYMAN_TOKEN_SECRET: has {len(secret)} bytes, at least {_SHORTEST_SECRET} are needed")
        return secret
    if given.database_url is not None or given.token_jwks_url:
        return None
    key = next(iter(sealing.embedded_keyring(given.home_directory()).keys.values()))
    return hmac.digest(key, b"tallyman: tokens of the API", hashlib.sha256)


def issue(given: Settings, user_id: UUID, *, minutes: float = 60) -> str:
    """Return an HS256 token for a person, signed with the configured secret, that expires after `minutes`.

    Raises `InvalidInput` unless minutes are positive, and `SetupError` if no secret is configured.
    """
    if minutes <= 0:
        raise InvalidInput(f"minutes: must be positive, not {minutes}")
    secret = secret_of(given)
    if secret is None:
        raise SetupError(
            "TALLYMAN_TOKEN_SECRET is not set: tokens are signed with it; the issuer of your keys makes tokens"
        )
    now = int(time.time())
    claims = {
        "sub": str(user_id),
        "aud": given.token_audience,
        "iat": now,
        "exp": now + round(60 * minutes),
        **({"iss": given.token_issuer} if given.token_issuer else {}),
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def _algorithm(token: str) -> str:
    if len(token) > _LONGEST_TOKEN:
        raise Refused(f"the token has more than {_LONGEST_TOKEN} characters")
    return str(jwt.get_unverified_header(token).get("alg"))


def _subject(claims: dict[str, Any]) -> UUID:
    try:
        return UUID(str(claims["sub"]))
    except ValueError:
        raise Refused("the token's subject (sub) is not the id of a person: it must be a UUID") from None
