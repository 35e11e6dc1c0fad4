-- Progress ---------------------------------------------------------------------------------------
-- Whoever watches a job is told by NOTIFY that it changed, and reads it again under its own rights.
-- One notification a statement, however many rows it changed: notifications serialise commits.

CREATE OR REPLACE FUNCTION engine.notify_progress() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    ids jsonb;
BEGIN
    SELECT jsonb_agg(c.id) INTO ids FROM (SELECT id FROM changed LIMIT 101) c;
    IF ids IS NULL THEN
        RETURN NULL;
    END IF;
    -- A notification holds 8,000 bytes. Past a hundred ids it says "many": look for yourself.
    IF jsonb_array_length(ids) > 100 THEN
        ids := NULL;
    END IF;
    PERFORM pg_notify('tallyman_progress',
        jsonb_build_object('table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'ids', ids)::text);
    RETURN NULL;
END $$;

COMMENT ON FUNCTION engine.notify_progress() IS
    'A statement trigger with the transition table `changed`: tells the channel tallyman_progress which rows changed.';
REVOKE ALL ON FUNCTION engine.notify_progress() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.notify_progress() TO service_role;
