"""A simulator that runs in the same process, for tests."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from app.simulators.serving import Desk, Server
from app.simulators.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)
DeskT = TypeVar("DeskT", bound=Desk[Any])


class Running(Generic[SettingsT, DeskT]):
    """A running simulator: its URL, its settings and its state."""

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self._server = server

    @property
    def desk(self) -> DeskT:
        """Return the state."""
        return cast("DeskT", self._server.app.state.desk)

    @property
    def behaviour(self) -> SettingsT:
        """The settings. A new value applies from the next call on."""
        return cast("SettingsT", self.desk.behaviour)

    @behaviour.setter
    def behaviour(self, behaviour: SettingsT) -> None:
        self.desk.behaviour = behaviour

    def change(self, **changes: Any) -> None:
        """Change some settings. Raises pydantic's `ValidationError` for an invalid setting."""
        self.behaviour = self.behaviour.changed(**changes)

    def start_over(self, behaviour: SettingsT | None = None) -> None:
        """Clear the state, for tests that share a simulator. `behaviour`: the settings; default: the simulator's."""
        former = self.desk
        self._server.replace(type(former)(behaviour or type(self.behaviour)(), former.clock))
