-- Sequenced events -------------------------------------------------------------------------------
-- Some types of event are applied in the order of their publication, subject by subject. `sequence` has
-- a row for each such event from its publication until it is applied or given up; the events of one
-- type and subject are a line, in the order of their positions. Only the first of a line is ever
-- applied. Whether those before an event wait in the queue, were put back, are dead, or are in another
-- worker's hands makes no difference: their rows are there.
--
-- An event that is delivered before its turn leaves the queue and is held here, in the same commit;
-- the commit that removes the last row before it puts it into the queue again.
--
-- The planner is told to use the indexes, because the statistics of a table that fills and empties within
-- a second are always wrong. There is no index on positions alone: it would read everybody's from the
-- first one on until it finds one of the line.
--
-- Whoever decides about a line holds its advisory lock, so what it sees of the line stays true until
-- it commits. There are 1,024 locks for all lines: a delivery of many subjects can never fill the
-- server's lock table, and two lines that share a lock merely wait for each other's commit. The locks
-- come first in the lock order of the program, sorted.

CREATE TABLE IF NOT EXISTS engine.sequence (
    event_id uuid PRIMARY KEY,
    type text NOT NULL,
    subject_id uuid NOT NULL,
    position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    held jsonb,
    attempt integer,
    held_at timestamptz,
    CHECK ((held IS NULL) = (attempt IS NULL) AND (held IS NULL) = (held_at IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX IF NOT EXISTS sequence_line_key ON engine.sequence (subject_id, type, position);

COMMENT ON TABLE engine.sequence IS
    'Lines of sequenced events that are neither applied nor given up. Only the first of a line may be applied.';
COMMENT ON COLUMN engine.sequence.position IS 'The order of publication.';
COMMENT ON COLUMN engine.sequence.held IS
    'The whole event, when it was delivered before its turn: then it waits here and not in the queue.';
COMMENT ON COLUMN engine.sequence.attempt IS 'How many deliveries a held event has behind it.';

ALTER TABLE engine.sequence ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.sequence FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS sequence_service ON engine.sequence;
CREATE POLICY sequence_service ON engine.sequence TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON engine.sequence TO service_role;

-- Locks ------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION engine.lock_lines(p_types text[], p_subjects uuid[]) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    key integer;
BEGIN
    FOR key IN
        SELECT DISTINCT (hashtextextended(line.type || '/' || line.subject, 0) & 1023)::integer AS k
          FROM unnest(p_types, p_subjects) AS line (type, subject)
         ORDER BY k
    LOOP
        PERFORM pg_advisory_xact_lock(hashtext('engine.sequence'), key);
    END LOOP;
END $$;
COMMENT ON FUNCTION engine.lock_lines(text[], uuid[]) IS
    'Waits until nobody else decides about these lines, and keeps others from it until the transaction ends.';

-- Turns ------------------------------------------------------------------------------------------
-- p_events: [{"id", "type", "subject"}, …], all of them sequenced. An event has its turn if all that
-- come before it in its line have it too, in this very list. One that is in the ledger has nothing to
-- wait for. A row whose event is in the ledger stops nobody: a worker that did not know the type as
-- sequenced applied it and left the row behind.

CREATE OR REPLACE FUNCTION engine.take_turns(p_events jsonb)
RETURNS TABLE (event_id uuid, place bigint, has_turn boolean)
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
BEGIN
    PERFORM engine.lock_lines(array_agg(e.type), array_agg(e.subject))
       FROM jsonb_to_recordset(p_events) AS e (type text, subject uuid);
    -- Whoever was put into the queue by other hands than `publish()` joins its line at its first delivery.
    INSERT INTO engine.sequence (type, subject_id, event_id)
    SELECT e.type, e.subject, e.id
      FROM ROWS FROM (jsonb_to_recordset(p_events) AS (id uuid, type text, subject uuid))
           WITH ORDINALITY AS e (id, type, subject, n)
     WHERE NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = e.id)
       AND NOT EXISTS (SELECT FROM engine.sequence s WHERE s.event_id = e.id)
     ORDER BY e.n
    ON CONFLICT DO NOTHING;
    RETURN QUERY
    WITH here AS MATERIALIZED (
        SELECT s.position, s.type, s.subject_id, s.event_id
          FROM engine.sequence s
         WHERE s.event_id IN (SELECT e.id FROM jsonb_to_recordset(p_events) AS e (id uuid))
    ), lines AS MATERIALIZED (
        SELECT line.type, line.subject_id, (
                   SELECT s.position FROM engine.sequence s
                    WHERE s.subject_id = line.subject_id AND s.type = line.type
                      AND s.position NOT IN (SELECT h.position FROM here h)
                      AND NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = s.event_id)
                    ORDER BY s.position LIMIT 1) AS stop
          FROM (SELECT DISTINCT h.type, h.subject_id FROM here h) line
    )
    SELECT h.event_id, h.position,
           lines.stop IS NULL OR h.position < lines.stop
           OR EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = h.event_id)
      FROM here h JOIN lines ON lines.type = h.type AND lines.subject_id = h.subject_id;
END $$;
COMMENT ON FUNCTION engine.take_turns(jsonb) IS
    'Locks the lines of sequenced events, and says of each where it stands and whether it may be applied now.';

-- Release ----------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION engine.call_next(
    p_type text, p_subject uuid, p_queue text, p_priority integer, p_most integer
) RETURNS integer LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    called integer;
BEGIN
    WITH front AS (
        SELECT s.event_id, s.position, s.held, s.attempt, first_value(s.attempt) OVER (ORDER BY s.position) AS first_attempt
          FROM (SELECT * FROM engine.sequence line
                 WHERE line.subject_id = p_subject AND line.type = p_type
                 ORDER BY line.position LIMIT p_most) s
    ), ready AS (
        SELECT f.event_id, f.position, f.held, f.attempt
          FROM (SELECT *, bool_and(held IS NOT NULL AND attempt = first_attempt) OVER (ORDER BY position) AS is_ready
                  FROM front) f
         WHERE f.is_ready
    ), freed AS (
        UPDATE engine.sequence s SET held = NULL, attempt = NULL, held_at = NULL
          FROM ready WHERE s.event_id = ready.event_id
        RETURNING s.event_id
    ), deferred AS (
        SELECT public.procrastinate_defer_jobs_v1(ARRAY[row(
                   p_queue, 'consume_parcel', p_priority, NULL, NULL,
                   jsonb_build_object('attempt', min(r.attempt), 'events', jsonb_agg(r.held ORDER BY r.position)), NULL
               )::public.procrastinate_job_to_defer_v1])
          FROM ready r HAVING count(*) > 0
    )
    SELECT count(*) INTO called FROM freed, deferred;
    RETURN called;
END $$;
COMMENT ON FUNCTION engine.call_next(text, uuid, text, integer, integer) IS
    'Puts the held events at the front of a line into the queue, as one parcel, up to the first that is not held.';

CREATE OR REPLACE FUNCTION engine.release(p_events uuid[], p_queue text, p_priority integer, p_most integer)
RETURNS integer LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
DECLARE
    line record;
    called integer := 0;
BEGIN
    PERFORM engine.lock_lines(array_agg(s.type), array_agg(s.subject_id))
       FROM engine.sequence s WHERE s.event_id = ANY(p_events);
    FOR line IN
        WITH gone AS (
            DELETE FROM engine.sequence s WHERE s.event_id = ANY(p_events) RETURNING s.type, s.subject_id
        )
        SELECT DISTINCT gone.type, gone.subject_id FROM gone ORDER BY gone.type, gone.subject_id
    LOOP
        called := called + engine.call_next(line.type, line.subject_id, p_queue, p_priority, p_most);
    END LOOP;
    RETURN called;
END $$;
COMMENT ON FUNCTION engine.release(uuid[], text, integer, integer) IS
    'Takes events that are over out of their lines and calls those that now come first; how many were called.';

REVOKE ALL ON FUNCTION engine.lock_lines(text[], uuid[]), engine.take_turns(jsonb),
    engine.call_next(text, uuid, text, integer, integer), engine.release(uuid[], text, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.lock_lines(text[], uuid[]), engine.take_turns(jsonb),
    engine.call_next(text, uuid, text, integer, integer), engine.release(uuid[], text, integer, integer) TO service_role;
