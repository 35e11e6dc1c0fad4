"""The edge of the command line: a command's exception becomes a line on stderr and a stable exit code.

0    done
1    failed: the server, its schema or an outside system
2    invalid input
3    not finished in time: `dead replay --wait`
130  interrupted
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from app.commands.output import WANTS_JSON, note, plain, show_times_in
from app.errors import InvalidFile, InvalidInput, TallymanError

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    import psycopg
    import pydantic

_MOST_PROBLEMS = 50
"""Problems of an InvalidFile that are printed; `--json` prints all."""
_SCHEMA_IS_MISSING = {"42P01", "42883", "3F000", "42704"}
"""SQLSTATE of a table, function, schema or other object that does not exist."""


class Edge(TyperGroup):
    """The root command group: turns a command's exception into a line on stderr and an exit code."""

    def prepare(self) -> None:
        """Prepare the process for any command. Errors are reported like a command's errors."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises only exceptions that Typer turns into an exit code."""
        show_times_in(None)
        try:
            self.prepare()
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):
            raise
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error
        except Exception as error:
            raise typer.Exit(report(error, as_json=ctx.meta.get(WANTS_JSON, False))) from error


def report(error: Exception, *, as_json: bool) -> int:
    """Print an error on stderr. Returns the exit code."""
    code, message = _verdict(error)
    if as_json:
        details = {name: value for name, value in vars(error).items() if isinstance(error, TallymanError)}
        note(json.dumps({"error": type(error).__name__, "message": message, **plain(details)}, ensure_ascii=False))
    else:
        note(f"error: {message}")
        for problem in _problems(error):
            note(f"  {problem}")
    return code


def _verdict(error: Exception) -> tuple[int, str]:
    """Return the exit code and the message in one line."""
    import psycopg
    import pydantic

    from events import InvalidEvent

    match error:
        case InvalidInput():
            return 2, str(error)
        case TallymanError():
            return 1, str(error)
        case InvalidEvent():
            return 2, str(error)
        case pydantic.ValidationError():
            return 2, "; ".join(_validation(error))
        case psycopg.Error():
            return 1, _database_message(error)
        case OSError():
            return 1, str(error)
        case _:
            return 1, f"{type(error).__name__}: {error} (this is a bug)"


def _validation(error: pydantic.ValidationError) -> list[str]:
    # Exclude the input: it may be a key.
    found = error.errors(include_input=False, include_url=False)
    return [f"{'.'.join(map(str, one['loc'])) or error.title}: {one['msg']}" for one in found]


def _database_message(error: psycopg.Error) -> str:
    """Return the message of a database or driver error, without secrets."""
    if error.sqlstate in _SCHEMA_IS_MISSING:
        return f"{error.diag.message_primary}; is the schema up to date? Try: python cli.py db migrate"
    if error.sqlstate is None and "connection info string" in str(error):
        # The driver's message repeats the connection string, including the password.
        return "DATABASE_URL (or MIGRATION_DATABASE_URL) is not a PostgreSQL connection string"
    return f"database: {error.diag.message_primary or ' '.join(str(error).split())}"


def _problems(error: Exception) -> list[str]:
    if not isinstance(error, InvalidFile):
        return []
    more = len(error.problems) - _MOST_PROBLEMS
    return [*error.problems[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
