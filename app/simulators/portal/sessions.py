"""Open sessions. A session expires by age or number of calls, by the behaviour at the time of use."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from app.simulators.portal.behaviour import Behaviour


@dataclass
class _Session:
    account: str
    opened_at: float
    uses: int = 0


class Sessions:
    """The open sessions by token. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._open: dict[str, _Session] = {}

    def open(self, account: str, clock: float) -> str:
        """Open a session. Returns its token."""
        token = secrets.token_urlsafe(24)
        self._open[token] = _Session(account, clock)
        return token

    def use(self, token: str, clock: float, behaviour: Behaviour) -> str | None:
        """Count one use of a session. Returns its account, or `None` if the session is unknown or expired."""
        session = self._open.get(token)
        if session is None:
            return None
        session.uses += 1
        is_worn = behaviour.session_uses is not None and session.uses > behaviour.session_uses
        if is_worn or clock - session.opened_at >= behaviour.session_lifetime_s:
            del self._open[token]
            return None
        return session.account
