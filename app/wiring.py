"""The domains of the program: its own, and those of other packages that TALLYMAN_DOMAINS names.

Only declarations are imported here. `app.program` imports what they name.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from app import logistics, tenancy
from app.engine.registration import Domain, check
from app.loading import named

DOMAINS = (tenancy.DOMAIN, logistics.DOMAIN)


def domains() -> tuple[Domain, ...]:
    """Every domain of this process.

    Raises `SetupError` for an address in TALLYMAN_DOMAINS that cannot be imported, and for two domains with one name,
    schema or command.
    """
    from app.settings import settings  # noqa: PLC0415 - `cli.py --help` of one of the engine's commands needs none

    return _domains(settings().domains)


def migrations() -> dict[str, Path]:
    """The directories of migration files of domains that live in packages of their own, by the domain's name."""
    return {domain.name: domain.migrations for domain in domains() if domain.migrations}


@cache
def _domains(addresses: str) -> tuple[Domain, ...]:
    found = (*DOMAINS, *named(addresses))
    check(found)
    return found
