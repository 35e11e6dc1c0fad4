-- Enqueue ------------------------------------------------------------------------------------------
-- Insert queue rows on a producer's own connection. Procrastinate's function and triggers name their tables without a
-- schema, so they fail on a connection whose search_path lacks `public`. This function pins the path around them.

CREATE OR REPLACE FUNCTION engine.enqueue(p_rows jsonb) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RETURN (
        SELECT public.procrastinate_defer_jobs_v1(array_agg(
                   row(r.queue, r.task, r.priority, NULL, NULL, r.args,
                       CASE WHEN r.delay > 0 THEN clock_timestamp() + r.delay * interval '1 second' END
                   )::public.procrastinate_job_to_defer_v1 ORDER BY r.n))
          FROM ROWS FROM (jsonb_to_recordset(p_rows)
                          AS (queue text, task text, priority integer, delay double precision, args jsonb))
               WITH ORDINALITY AS r (queue, task, priority, delay, args, n));
END $$;
COMMENT ON FUNCTION engine.enqueue(jsonb) IS
    'Inserts queue rows, [{"queue", "task", "priority", "delay" in seconds, "args"}, …]; returns their ids.';

REVOKE ALL ON FUNCTION engine.enqueue(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.enqueue(jsonb) TO service_role;
