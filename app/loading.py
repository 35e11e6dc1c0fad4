"""Import objects that domains and settings name as `package.module:NAME`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeVar

from app.engine.registration import Domain, Parts
from app.errors import SetupError

if TYPE_CHECKING:
    from app.fixtures import Fixtures

_T = TypeVar("_T")


def named(addresses: str) -> tuple[Domain, ...]:
    """Return the domains that a setting names as `package.module:NAME`, separated by commas.

    Raises `SetupError`, with the address, if one cannot be imported or is not a `Domain`.
    """
    wanted = [address.strip() for address in addresses.split(",") if address.strip()]
    return tuple(_imported(address, Domain, "TALLYMAN_DOMAINS") for address in wanted)


def parts(domain: Domain) -> Parts:
    """Return the parts of a domain. Raises `SetupError` if their address cannot be imported."""
    found = domain.parts
    return _imported(found, Parts, f"domain {domain.name}") if isinstance(found, str) else found


def fixtures(domain: Domain) -> Fixtures:
    """Return the fixtures of a domain; empty ones without an address. Raises `SetupError` if it cannot be imported."""
    from app.fixtures import Fixtures  # noqa: PLC0415 - only tests need it

    where = f"domain {domain.name}, fixtures"
    return _imported(domain.fixtures, Fixtures, where) if domain.fixtures else Fixtures()


def command(domain: Domain, name: str) -> Any:
    """Return the Typer app of a group of commands. Raises `SetupError` if its address cannot be imported."""
    found = domain.commands[name]
    return _imported(found, object, f"domain {domain.name}, command {name}") if isinstance(found, str) else found


def routers(domain: Domain) -> list[Any]:
    """Return the FastAPI routers of a domain. Raises `SetupError` if an address cannot be imported."""
    where = f"domain {domain.name}, router"
    return [_imported(found, object, where) if isinstance(found, str) else found for found in domain.routers]


def _imported(address: str, kind: type[_T], where: str) -> _T:
    module, colon, name = address.partition(":")
    if not (module and colon and name):
        raise SetupError(f"{where}: {address!r} must be package.module:NAME")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SetupError(f"{where}: {address!r} cannot be imported: {error}") from error
    if not isinstance(found, kind):
        raise SetupError(f"{where}: {address!r} is a {type(found).__name__}, not a {kind.__name__}")
    return found
