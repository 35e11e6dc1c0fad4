-- What was applied and what died in a span that ends now, by type. An answer is found by its cause: the
-- event that follows from an effect's is what came of its call.
WITH recent AS (
    SELECT event_id, type, causation_id, occurred_at, applied_at FROM engine.event_log
     WHERE applied_at > now() - %(since)s
), applied AS (
    SELECT type, count(*) AS applied,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
               ORDER BY extract(epoch FROM greatest(applied_at - occurred_at, interval '0'))::float8) AS waiting
      FROM recent GROUP BY type
), answered AS (
    SELECT asked.type,
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
               ORDER BY extract(epoch FROM greatest(answer.applied_at - asked.occurred_at, interval '0'))::float8
           ) AS handling
      FROM recent answer JOIN engine.event_log asked ON asked.event_id = answer.causation_id
     WHERE asked.type = ANY(%(effects)s)
     GROUP BY asked.type
), died AS (
    SELECT job_type AS type, count(*) AS dead FROM engine.failed_jobs WHERE failed_at > now() - %(since)s GROUP BY 1
)
SELECT type, coalesce(applied, 0) AS applied, coalesce(applied, 0) / %(minutes)s::float8 AS applied_a_minute,
       waiting[1] AS waiting_p50, waiting[2] AS waiting_p95, handling[1] AS handling_p50, handling[2] AS handling_p95,
       coalesce(dead, 0) AS dead, coalesce(dead, 0) / %(minutes)s::float8 AS dead_a_minute
  FROM applied FULL JOIN died USING (type) LEFT JOIN answered USING (type)
 ORDER BY type
