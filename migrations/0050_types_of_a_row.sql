-- The event types of a queue row -------------------------------------------------------------------
-- Metrics count waiting events by type and open only as many rows as their bounds allow. engine.queue_rows
-- opens all of them.

CREATE OR REPLACE FUNCTION engine.types_of_row(p_task text, p_args jsonb) RETURNS TABLE (type text, events integer)
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_args ->> 'type', 1 WHERE p_task = 'consume' AND p_args IS NOT NULL
    UNION ALL -- one type, because each effect has its own rows
    SELECT p_args #>> '{events,0,type}', jsonb_array_length(p_args -> 'events')
     WHERE p_task = 'perform' AND p_args IS NOT NULL
    UNION ALL
    SELECT one ->> 'type', count(*)::integer FROM jsonb_array_elements(p_args -> 'events') AS one
     WHERE p_task = 'consume_parcel' AND p_args IS NOT NULL GROUP BY 1
$$;
COMMENT ON FUNCTION engine.types_of_row(text, jsonb) IS
    'The types of the events of a queue row with this task and these arguments, each with its number of events. None '
    'for null arguments.';

REVOKE ALL ON FUNCTION engine.types_of_row(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.types_of_row(text, jsonb) TO service_role;
