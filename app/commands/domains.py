"""The commands of the domains: sub-apps that are loaded for commands the engine does not have."""

from __future__ import annotations

from functools import cache
from typing import Any

import typer

from app.commands.edge import Edge, report
from app.errors import SetupError


class WithDomains(Edge):
    """The root command group: the engine's commands and the domains' commands.

    Domains are loaded only for `--help` and for commands that the engine does not have.
    """

    def prepare(self) -> None:
        """Import the domains of other packages, so that their event types are registered."""
        from app.settings import settings

        if settings().domains:
            from app.engine.domain import wiring

            wiring()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature of a Typer group
        """Return all command names, sorted. Raises `typer.Exit` if a domain cannot be loaded."""
        try:
            return sorted([*self.commands, *self._of_domains()])
        except SetupError as error:
            raise typer.Exit(report(error, as_json=False)) from error

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command with this name, or None."""
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return own
        from app.loading import command

        domain = self._of_domains().get(cmd_name)
        if domain is None:
            return None
        return _group(command(domain, cmd_name), cmd_name)

    def _of_domains(self) -> dict[str, Any]:
        """Return the domain of each command that a domain declares, by command name."""
        from app.engine.registration import check
        from app.wiring import domains

        found = domains()
        check(found, self.commands)
        return {name: domain for domain in found for name in domain.commands}


@cache
def _group(app: typer.Typer, name: str) -> Any:
    """Return a sub-app as a command group. Typer asks for it twice, and building it takes a hundredth of a second."""
    group = typer.main.get_group(app)
    group.name = name
    return group
