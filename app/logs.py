"""Logging: write the program's and Procrastinate's records to standard error.

Procrastinate puts all task arguments into its messages and extras. The arguments are events, which contain tenants'
data. Its records are therefore rewritten with an allow-list of fields, and their messages are dropped.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.types import EventDict, WrappedLogger

from app.settings import settings

_ROUTINE = {"start_job", "job_success", "loaded_job_info", "finish_task", "jobs_deferred", "about_to_defer_jobs"}
"""Procrastinate's records of every delivery. The program logs the same with counts."""
_JOB_FIELDS = ("id", "task_name", "queue", "attempts", "worker_id")


def configure() -> None:
    """Configure the logging of this process from the settings. Safe to call again."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), without_arguments],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering()],
        )
    )
    handler.addFilter(_is_worth_a_line)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings().log_level)
    for noisy in ("httpx", "httpcore", "psycopg", "psycopg.pool", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def without_arguments(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Remove all task arguments from a record of Procrastinate. Returns the new record."""
    if not str(event.get("logger", "")).startswith("procrastinate"):
        return event
    kept = {
        name: event[name]
        for name in ("level", "logger", "timestamp", "exc_info", "_record", "_from_structlog")
        if name in event
    }
    job = event.get("job")
    if isinstance(job, dict):
        kept.update({name: job[name] for name in _JOB_FIELDS if job.get(name) is not None})
    worker = event.get("worker")
    if isinstance(worker, dict):
        kept.setdefault("worker_id", worker.get("worker_id"))
    action = event.get("action")
    return {**kept, "event": str(action) if action else _first_words(str(event.get("event", "")))}


def _first_words(message: str) -> str:
    # A message without an action is one of a few fixed sentences. Text after a bracket or a colon may be data.
    return message.split("(", maxsplit=1)[0].split("[", maxsplit=1)[0].split(":", maxsplit=1)[0][:120]


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    if getattr(record, "action", None) == "job_error_retry":
        # The program's tasks fail only if an error could not even be recorded.
        record.levelno, record.levelname = logging.ERROR, "ERROR"
    return record.levelno > logging.INFO or getattr(record, "action", None) not in _ROUTINE


def _rendering() -> list[Any]:
    given = settings().log_format
    if given == "json" or (given == "auto" and not sys.stderr.isatty()):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The plain traceback: the pretty one prints local variables, which are tenants' data.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
