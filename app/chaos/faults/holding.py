"""Hold a transaction open in another session, for faults that lock rows."""

from __future__ import annotations

from psycopg import sql

from app.chaos.fault_context import Done, FaultContext

HOLD_S = (0.5, 4.0)
"""Shortest and longest seconds of a short lock."""
_LONG_S = 30.0
_LONGEST_PART = 0.25
"""Longest part of the run for which a long lock is held, at most `_LONG_S`."""


def hold_long(fault_context: FaultContext, statement: bytes | str, what: str) -> Done | None:
    """Lock a row for a part of the run. Returns None if there is no such row."""
    lasts = fault_context.dice.uniform(0.5, 1.0) * min(_LONG_S, _LONGEST_PART * fault_context.seconds)
    return hold(fault_context, statement, what, lasts)


def hold(
    fault_context: FaultContext, statement: bytes | str, what: str, lasts: float, isolation: str = "READ COMMITTED"
) -> Done | None:
    """Hold a query's transaction open for `lasts` seconds. Returns None if the query returns no row."""
    connection = fault_context.stage.overlook()
    connection.execute(sql.SQL("BEGIN ISOLATION LEVEL ") + sql.SQL(isolation))
    query = statement.encode() if isinstance(statement, str) else statement
    held = [str(one) for (one,) in connection.execute(query)]
    if not held:
        connection.close()
        return None
    # Closing the connection ends the transaction, and succeeds also after the server has ended it.
    return Done(f"{what} {', '.join(held)} for {lasts:.1f} s", lasts, connection.close)
