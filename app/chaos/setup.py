"""Set up a run: a separate server in one directory, migrated and observed, and the parts of the installed domains."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from app.chaos import observer
from app.chaos.model import Model
from app.chaos.part import Chaos, ChaosPart
from app.chaos.stage import WORKER, Stage
from app.errors import SetupError
from app.loading import fixtures
from app.postgres import embedded
from app.postgres.embedded import Embedded
from app.schema import migrate
from app.settings import use
from app.tenancy.store import create_workspace
from app.wiring import domains, sources


@contextmanager
def stage(home: Path, environment: Mapping[str, str]) -> Iterator[Stage]:
    """Set up a server in `home`. Its process ends with the block, the files stay. `environment`: of the workers."""
    try:
        server = embedded.ensure_running(home)
        of_workers = _environment(home, server)
        migrate.migrate(server.owner_url, sources())
        superuser_url = make_conninfo(server.superuser_url, dbname="tallyman", application_name="chaos")
        observer.install(superuser_url)
        yield Stage(
            home,
            server.service_url,
            superuser_url,
            {**of_workers, **environment},
            lambda connection, name: create_workspace(connection, name).id,
        )
    finally:
        embedded.stop(home)


def declared() -> list[Chaos]:
    """Return the declarations of the installed domains. Raises `SetupError` if there is none."""
    found = [chaos for domain in domains() if (chaos := fixtures(domain).chaos) is not None]
    if not found:
        raise SetupError("no installed domain declares a part of a chaos run (`Fixtures.chaos`)")
    return found


@contextmanager
def opened(chaos: list[Chaos], on: Stage, model: Model) -> Iterator[list[ChaosPart]]:
    """Open the domains' parts, and observe the tables of their jobs."""
    with ExitStack() as stack:
        parts = [stack.enter_context(one.open(on, model)) for one in chaos]
        for part in parts:
            if part.work is not None:
                observer.observe(on.superuser_url, part.work.batch)
        yield parts


def _environment(home: Path, server: Embedded) -> dict[str, str]:
    """Return the workers' environment, and apply the same settings to this process."""
    keys = "chaos:" + base64.b64encode(secrets.token_bytes(32)).decode()
    use(home=home, keys=SecretStr(keys))
    # With a URL, workers do not start the embedded server, so that an outage lasts as long as intended.
    use(DATABASE_URL=server.service_url)
    own = {"DATABASE_URL": server.service_url, "TALLYMAN_HOME": str(home), "TALLYMAN_KEYS": keys}
    return {**os.environ, **WORKER, **own}
