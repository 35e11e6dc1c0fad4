"""The environment, read once.

Everything that an operator can turn is a field here; nothing else in the program reads `os.environ`.
Each field is set by the variable `TALLYMAN_<FIELD>` (or, for the database, by the usual `DATABASE_URL`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import SetupError


def _data_home() -> Path:
    try:
        return Path(platformdirs.user_data_dir("tallyman"))
    except RuntimeError:  # an account without a home directory, as in many containers: needed only if it is used
        return Path("~/.local/share/tallyman")


class Settings(BaseSettings):
    """What the environment says. Times are seconds."""

    model_config = SettingsConfigDict(env_prefix="TALLYMAN_", frozen=True, extra="ignore")

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    """Where workers and producers connect; unset: the embedded server."""
    migration_database_url: str | None = Field(default=None, validation_alias="MIGRATION_DATABASE_URL")
    """Where migrations connect, as the owner of the schema; unset: the same as `database_url`."""
    home: Path = Field(default_factory=_data_home)
    """The embedded server's data and, beside it, the sealing key that was made for it."""
    keys: SecretStr | None = None
    """Sealing keys, `id:base64-of-32-bytes`, comma-separated; the first seals, all of them open."""

    domains: str = ""
    """Domains from other packages, `package.module:NAME`, comma-separated: each names a `Domain`."""

    editor: str = Field(default="vi", validation_alias=AliasChoices("VISUAL", "EDITOR"))
    """What `dead edit` opens a letter's data with."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto`: for people on a terminal, one JSON object a line otherwise."""

    service_role: str = Field(default="service_role", min_length=1)
    """The role that workers and producers act as. Where `service_role` bypasses row-level security (Supabase):
    `tallyman_worker`, its member, which `db migrate` makes there."""
    unsafe: bool = False
    """Start even on a server whose settings can lose a commit or void the isolation of tenants."""
    heartbeat_interval: float = Field(default=10.0, gt=0)
    stalled_after: float = Field(default=30.0, gt=0)
    """A worker whose heartbeat is older is taken for dead, and its deliveries are rescued."""
    rescue_interval: float = Field(default=0.5, gt=0)
    """How often each worker looks for workers whose session has ended, to rescue their deliveries."""
    sweep_interval: float = Field(default=10.0, gt=0)
    """How often each worker looks at heartbeats, for deliveries that run too long, for rows that failed in the queue
    itself, and for parked rows that can go on."""
    longest_run: float = Field(default=1800.0, gt=0)
    """A delivery that has been running for longer is rescued, whatever its worker's heartbeat says."""
    most_rescues: int = Field(default=3, ge=1)
    """An event that was rescued more often is buried: it kills its workers. Counted by event, over all its rows."""
    polling_interval: float = Field(default=1.0, gt=0, le=5)
    graceful_timeout: float = Field(default=8.0, gt=0)
    """A worker that is told to stop has ended after so long, in order or at its limit. The default fits into the ten
    seconds of `docker stop`. It has no heartbeat then: with the last one's age it must stay below `stalled_after`."""
    most_attempts: int = Field(default=6, ge=1)
    """Deliveries of one event before its transient error counts as final."""
    retry_base: float = Field(default=2.0, gt=0)
    retry_cap: float = Field(default=300.0, gt=0)
    """The n-th retry waits between half and all of `min(retry_cap, retry_base * 2**(n-1))`."""
    lock_patience: float = Field(default=1.0, gt=0)
    """Seconds that a delivery waits for a row which another session has locked; then its events are set aside."""
    handler_timeout: float = Field(default=120.0, gt=0)
    """Seconds that one statement of a handler may take."""
    unknown_patience: float = Field(default=600.0, ge=0)
    """Seconds for which an event of a type or version that no worker has known yet waits before it is buried."""
    ledger_days: float = Field(default=30.0, gt=0)
    """Days for which applied events stay in the ledger: a delivery that comes later than that would count again."""
    resolved_days: float = Field(default=90.0, gt=0)
    """Days for which resolved dead letters are kept."""
    plan_days: float = Field(default=90.0, gt=0)
    """Days for which plans of replays are kept after their last use."""
    actions_days: float = Field(default=730.0, ge=365)
    """Days for which the record of admins' actions is kept; the database refuses to delete any of the last 365."""
    finished_days: float = Field(default=7.0, gt=0)
    """Days for which queue rows are kept that Procrastinate's own commands finished, cancelled or aborted."""
    dead_letters_a_tenant: int = Field(default=10_000, ge=1)
    """Unresolved dead letters of one tenant past which every prune warns in the log; none is ever dropped."""
    portal_timeout: float = Field(default=15.0, gt=0)
    """The limit of one call to a carrier's portal."""
    portal_settle: float = Field(default=15.0, ge=0)
    """How long a portal may still be entering an order after we hung up: until then it is not asked about it."""

    def home_directory(self) -> Path:
        """`home` as an absolute path. Raises `SetupError` where this account has no home directory to put it in."""
        try:
            return self.home.expanduser().resolve()
        except RuntimeError:
            raise SetupError(
                "this account has no home directory: set TALLYMAN_HOME to a directory for the embedded server,"
                " or DATABASE_URL and TALLYMAN_KEYS to do without one"
            ) from None

    @model_validator(mode="after")
    def _leave_time(self) -> Self:
        if 2 * self.heartbeat_interval > self.stalled_after:
            message = "TALLYMAN_STALLED_AFTER must be at least twice TALLYMAN_HEARTBEAT_INTERVAL"
            raise ValueError(message)
        if self.graceful_timeout + self.heartbeat_interval >= self.stalled_after:
            message = "TALLYMAN_GRACEFUL_TIMEOUT + TALLYMAN_HEARTBEAT_INTERVAL must be less than TALLYMAN_STALLED_AFTER"
            raise ValueError(message)
        return self


@cache
def settings() -> Settings:
    """The settings of this process. Raises `SetupError` for a variable that cannot be."""
    try:
        return Settings(**_chosen)
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(one['loc'])}: {one['msg']}" for one in error.errors(include_input=False))
        raise SetupError(f"environment: {wrong}") from None


_chosen: dict[str, Any] = {}


def use(**chosen: Any) -> None:
    """Let the command line have the last word on some settings."""
    _chosen.update(chosen)
    settings.cache_clear()


@contextmanager
def using(**chosen: Any) -> Iterator[None]:
    """Let a block have the last word on some settings."""
    before = dict(_chosen)
    use(**chosen)
    try:
        yield
    finally:
        _chosen.clear()
        use(**before)


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return name if name.isupper() else f"TALLYMAN_{name.upper()}"
