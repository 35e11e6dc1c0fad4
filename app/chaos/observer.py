"""The observer: triggers that record published events, results and ends of jobs, in the same transaction.

The records are independent of the program's tables: they contain events that the program lost, and results that it
counted twice. The tables have no unique constraint and no index, so that no session waits for another.

    chaos.said       every insert of an event into the queue or the delayed events
    chaos.results    every result of an item, with the attempt
    chaos.endings    every end of a job, with the generation
    chaos.applied    time at which an event of the scheduler was applied, by the database's clock
"""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

from app.engine.batches import Batch
from app.engine.batches.statements import composed

DELAYED = "delayed by chaos"
"""Error message of the scheduler's events. The observer selects them by it."""

_INSTALL = b"""
CREATE SCHEMA chaos;
CREATE TABLE chaos.said (event_id text, type text);
CREATE TABLE chaos.results (item_id uuid, attempt integer, status text);
CREATE TABLE chaos.endings (job_id uuid, generation integer);
CREATE TABLE chaos.applied (event_id uuid, at timestamptz);

CREATE FUNCTION chaos.note_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO chaos.said
    SELECT one ->> 'id', one ->> 'type'
      FROM jsonb_array_elements(CASE WHEN jsonb_typeof(NEW.args -> 'events') = 'array' THEN NEW.args -> 'events'
                                     ELSE jsonb_build_array(NEW.args) END) AS one
     WHERE one ? 'id';
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_note AFTER INSERT ON public.procrastinate_jobs
    FOR EACH ROW EXECUTE FUNCTION chaos.note_events();
CREATE TRIGGER chaos_note AFTER INSERT ON engine.delayed
    FOR EACH ROW EXECUTE FUNCTION chaos.note_events();

CREATE FUNCTION chaos.note_result() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO chaos.results VALUES (NEW.id, NEW.retry_count, to_jsonb(NEW) ->> TG_ARGV[0]);
    RETURN NULL;
END $$;

CREATE FUNCTION chaos.note_ending() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO chaos.endings VALUES (NEW.id, NEW.generation);
    RETURN NULL;
END $$;

CREATE FUNCTION chaos.note_applied() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO chaos.applied VALUES (NEW.event_id, clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_note AFTER INSERT ON engine.event_log
    FOR EACH ROW WHEN (NEW.data ->> 'error_message' = 'delayed by chaos') EXECUTE FUNCTION chaos.note_applied();
"""


_OBSERVE: LiteralString = """
CREATE TRIGGER chaos_note AFTER UPDATE OF {status} ON {items}
    FOR EACH ROW WHEN (NEW.{status} IN ({success}, {error})) EXECUTE FUNCTION chaos.note_result({status});
CREATE TRIGGER chaos_note AFTER UPDATE OF status ON {jobs}
    FOR EACH ROW WHEN (NEW.status IN ('completed', 'failed')) EXECUTE FUNCTION chaos.note_ending();
"""


def install(superuser_url: str) -> None:
    """Install the triggers in a migrated database."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(_INSTALL)


def observe(superuser_url: str, batch: Batch[Any, Any]) -> None:
    """Record the results and ends of a batch from now on."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(composed(batch, _OBSERVE))


def remove(superuser_url: str) -> None:
    """Remove the triggers and the records."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA chaos CASCADE")
