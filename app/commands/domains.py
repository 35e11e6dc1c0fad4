"""The commands of the domains: sub-apps that are found when a command is not one of the engine's."""

from __future__ import annotations

from typing import Any

import typer

from app.commands.output import Edge, report
from app.errors import SetupError


class WithDomains(Edge):
    """The outermost group, with the engine's commands and those that the domains declare.

    The domains are read only for `--help` and for a command that the engine does not have.
    """

    def prepare(self) -> None:
        """Import the domains of other packages: the types of their events are known from then on."""
        from app.settings import settings

        if settings().domains:
            from app.engine.domain import wiring

            wiring()

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature of a Typer group
        """The engine's commands and the domains', sorted. Raises `typer.Exit` for domains that cannot be read."""
        try:
            return sorted([*self.commands, *self._of_domains()])
        except SetupError as error:
            raise typer.Exit(report(error, as_json=False)) from error

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name, or None."""
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return own
        from app.loading import command

        domain = self._of_domains().get(cmd_name)
        if domain is None:
            return None
        group = typer.main.get_group(command(domain, cmd_name))
        group.name = cmd_name
        return group

    def _of_domains(self) -> dict[str, Any]:
        """The domain of each command that a domain declares."""
        from app.engine.registration import check
        from app.wiring import domains

        found = domains()
        check(found, self.commands)
        return {name: domain for domain in found for name in domain.commands}
