"""List the domains of the program: its own, and those of other packages in TALLYMAN_DOMAINS.

This module imports only declarations. `app.program` imports the parts that they name.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from app import collection, logistics, messaging, tenancy, webhooks
from app.engine.registration import Domain, check
from app.loading import named
from app.schema.scripts import Sources

DOMAINS = (tenancy.DOMAIN, logistics.DOMAIN, collection.DOMAIN, messaging.DOMAIN, webhooks.DOMAIN)


def domains() -> tuple[Domain, ...]:
    """Return all domains of this process.

    Raises `SetupError` if an address in TALLYMAN_DOMAINS cannot be imported, or if two domains share a name, schema or
    command.
    """
    from app.settings import settings  # noqa: PLC0415 - `cli.py --help` of one of the engine's commands needs none

    return _domains(settings().domains)


def migrations() -> dict[str, Path]:
    """Return the directories of migration files of domains in separate packages, by the domain's name."""
    return {domain.name: domain.migrations for domain in domains() if domain.migrations}


def sources() -> Sources:
    """The migration files of this process: the program's, the installed Procrastinate's and the domains'."""
    return Sources.installed(migrations())


@cache
def _domains(addresses: str) -> tuple[Domain, ...]:
    found = (*DOMAINS, *named(addresses))
    check(found)
    return found
