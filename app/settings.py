"""Settings from environment variables, read once a process.

Each setting of the program is a field here, set by the variable `TALLYMAN_<FIELD>`; the database by `DATABASE_URL`.
No other module reads settings from `os.environ`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.errors import SetupError


def _data_home() -> Path:
    try:
        return Path(platformdirs.user_data_dir("tallyman"))
    except RuntimeError:  # an account without a home directory, as in many containers: needed only if it is used
        return Path("~/.local/share/tallyman")


class Settings(BaseSettings):
    """The settings. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="TALLYMAN_", frozen=True, extra="ignore")

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    """The URL for workers and producers. Default: the embedded server."""
    migration_database_url: str | None = Field(default=None, validation_alias="MIGRATION_DATABASE_URL")
    """The URL for migrations, as the owner of the schema. Default: `database_url`."""
    home: Path = Field(default_factory=_data_home)
    """The directory of the embedded server's data and of its sealing key."""
    keys: SecretStr | None = None
    """Sealing keys, `id:base64-of-32-bytes`, comma-separated. The first encrypts, all of them decrypt."""

    domains: str = ""
    """Domains from other packages, `package.module:NAME`, comma-separated: each names a `Domain`."""

    editor: str = Field(default="vi", validation_alias=AliasChoices("VISUAL", "EDITOR"))
    """The editor that `dead edit` opens."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto`: readable text on a terminal, otherwise one JSON object a line."""

    service_role: str = Field(default="service_role", min_length=1)
    """The role of workers and producers. If `service_role` bypasses row-level security, as on Supabase, set
    `tallyman_worker`, a member of it that `db migrate` creates there."""
    unsafe: bool = False
    """Start also on a server whose settings can lose commits or break the isolation of tenants."""
    heartbeat_interval: float = Field(default=10.0, gt=0)
    stalled_after: float = Field(default=30.0, gt=0)
    """A worker whose heartbeat is older counts as dead, and its deliveries are rescued."""
    rescue_interval: float = Field(default=0.5, gt=0)
    """Interval at which each worker searches for workers whose session has ended, to rescue their deliveries."""
    sweep_interval: float = Field(default=10.0, gt=0)
    """Interval at which each worker checks heartbeats, deliveries that run too long, rows that failed in the queue
    itself, and parked rows that can continue."""
    longest_run: float = Field(default=1800.0, gt=0)
    """A delivery that runs for longer is rescued, also if its worker's heartbeat is recent."""
    most_rescues: int = Field(default=3, ge=1)
    """An event that was rescued more often is dead-lettered, because it probably crashes its workers. Counted by event,
    over all its rows."""
    polling_interval: float = Field(default=1.0, gt=0, le=5)
    graceful_timeout: float = Field(default=8.0, gt=0)
    """Time limit of a worker's graceful shutdown. The default fits into the ten seconds of `docker stop`. A stopping
    worker sends no heartbeat, so the sum with `heartbeat_interval` must be less than `stalled_after`."""
    most_attempts: int = Field(default=6, ge=1)
    """Deliveries of an event after which a transient error is final."""
    retry_base: float = Field(default=2.0, gt=0)
    retry_cap: float = Field(default=300.0, gt=0)
    """Retry n waits between half and all of `min(retry_cap, retry_base * 2**(n-1))`."""
    lock_patience: float = Field(default=1.0, gt=0)
    """Seconds for which a delivery waits for a row that another session has locked. Then its events are set aside."""
    handler_timeout: float = Field(default=120.0, gt=0)
    """Time limit of one statement of a handler."""
    unknown_patience: float = Field(default=600.0, ge=0)
    """Seconds for which an event of an unknown type or version waits for a worker that knows it. Then it is
    dead-lettered."""
    ledger_days: float = Field(default=30.0, gt=0)
    """Days for which applied events stay in the ledger. A later delivery of the same event would be applied again."""
    resolved_days: float = Field(default=90.0, gt=0)
    """Days for which resolved dead letters are kept."""
    plan_days: float = Field(default=90.0, gt=0)
    """Days for which replay plans are kept after their last use."""
    actions_days: float = Field(default=730.0, ge=365)
    """Days for which the audit log of admins' actions is kept. The database refuses to delete the last 365 days."""
    finished_days: float = Field(default=7.0, gt=0)
    """Days for which queue rows are kept after Procrastinate's own commands finished, cancelled or aborted them."""
    dead_letters_a_tenant: int = Field(default=10_000, ge=1)
    """Unresolved dead letters of one tenant above which each prune logs a warning. None is dropped."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """The port on which a worker serves its metrics; 0: any free port, which is logged. Default: it serves none."""
    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    """The address on which a worker serves its metrics, without access control."""
    portal_timeout: float = Field(default=15.0, gt=0)
    """Time limit of one call to a carrier's portal."""
    portal_settle: float = Field(default=15.0, ge=0)
    """Grace period: a portal may still enter an order this long after a call failed, and is not asked before."""

    marketplace_timeout: float = Field(default=30.0, gt=0)
    """Time limit of one call to a marketplace."""
    marketplace_settle: float = Field(default=30.0, ge=0)
    """Grace period: a marketplace may still charge a call this long after it failed, and is not asked before."""

    public_url: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(?:/[^?#\s]*)?$")
    """The URL under which others reach the web application, without the paths of its routes. Twilio signs it."""
    webhook_freshness: float = Field(default=1.0, ge=0)
    """Seconds for which the account of an endpoint is used again: a disabled endpoint is open that much longer."""
    webhook_patience: float = Field(default=5.0, gt=0)
    """Seconds for which a webhook request waits for a database connection. Twilio waits 15 seconds for the answer."""
    token_secret: SecretStr | None = None
    """The secret of HS256 bearer tokens, at least 32 bytes. Default: with the embedded server, a secret of its own."""
    token_jwks_url: str | None = None
    """The URL of the public keys (JWKS) of RS256 and ES256 bearer tokens."""
    token_audience: str = Field(default="authenticated", min_length=1)
    """The audience (`aud`) that a bearer token must have."""
    token_issuer: str | None = None
    """The issuer (`iss`) that a bearer token must have. Default: any."""
    metrics_token: SecretStr | None = Field(default=None, min_length=16)
    """The bearer token that opens `/metrics` of the web application. Without it there is no `/metrics`."""
    operators: str = ""
    """Ids of people who may change through the API what all tenants share (coverage), comma-separated."""
    web_connections: int = Field(default=8, ge=1)
    """Database connections of the web application, at most."""
    web_body_bytes: int = Field(default=4 << 20, ge=1)
    """Size limit of a request's body."""
    web_upload_bytes: int = Field(default=64 << 20, ge=1)
    """Size limit of an uploaded file."""
    web_body_timeout: float = Field(default=30.0, gt=0)
    """Time in which a request's body must arrive."""
    api_requests_a_minute: int = Field(default=1200, ge=1)
    """Requests of one person to the API within a minute, in each process of the web application."""
    api_refusals_a_minute: int = Field(default=60, ge=1)
    """Requests of one address without an accepted token within a minute, in each process."""
    api_streams_a_person: int = Field(default=500, ge=1)
    """Progress streams that a person may have open in a process."""

    webhook_timeout: float = Field(default=15.0, gt=0)
    """Time limit of one request to a webhook's endpoint."""
    webhook_failing_days: float = Field(default=5.0, gt=0)
    """Days without a successful request after which a failing endpoint is disabled."""
    webhook_deliveries_days: float = Field(default=30.0, gt=0)
    """Days for which deliveries are kept that were accepted or given up. Dead ones are kept."""
    webhook_networks: str = ""
    """Private networks that webhooks may be sent to, such as `10.1.0.0/16,127.0.0.0/8`, besides public addresses."""
    webhook_http: bool = False
    """Accept endpoints without TLS. In `webhook_networks` they are accepted anyway."""

    message_processors: str = ""
    """Processors of messages by content type, `image=package.module:NAME`, comma-separated (docs/messaging.md)."""

    def home_directory(self) -> Path:
        """Return `home` as an absolute path. Raises `SetupError` if it needs a home directory that does not exist."""
        try:
            return self.home.expanduser().resolve()
        except RuntimeError:
            raise SetupError(
                "this account has no home directory: set TALLYMAN_HOME to a directory for the embedded server,"
                " or DATABASE_URL and TALLYMAN_KEYS to do without one"
            ) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's interface
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's interface
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's interface
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read overrides and the environment. The source of `.env` files takes as long as both, also without a file."""
        return init_settings, env_settings

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
    """Return the settings of this process. Raises `SetupError` for an invalid variable."""
    try:
        return Settings(**_chosen)
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(one['loc'])}: {one['msg']}" for one in error.errors(include_input=False))
        raise SetupError(f"environment: {wrong}") from None


_chosen: dict[str, Any] = {}


def use(**chosen: Any) -> None:
    """Override settings, for example from the command line, until the process ends."""
    _chosen.update(chosen)
    settings.cache_clear()


@contextmanager
def using(**chosen: Any) -> Iterator[None]:
    """Override settings within a block."""
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
