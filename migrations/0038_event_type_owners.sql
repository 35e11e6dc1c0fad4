-- Owners of event types --------------------------------------------------------------------------
-- The owner of an event type is the name of the domain that serves it. Earlier programs wrote the part of
-- the type before the slash. `db migrate` and workers write the new owner, as any other change of a
-- definition. A type that this program no longer serves keeps its earlier owner: `db migrate` retires it
-- if the program serves other types with the same first part.

CREATE OR REPLACE FUNCTION engine.register_event_types(p_types jsonb, p_deployment boolean) RETURNS text[]
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    changed text[];
    retired text[];
BEGIN
    WITH declared AS (
        SELECT d.*, encode(sha256(convert_to(to_jsonb(d)::text, 'UTF8')), 'hex') AS definition
          FROM jsonb_to_recordset(p_types)
               AS d (type text, version integer, queue_name text, priority integer, batch_size integer, is_effect boolean,
                     is_sequenced boolean, account_field text, owner text)
    ), written AS (
        INSERT INTO engine.event_types AS t
               (type, version, queue_name, priority, batch_size, is_effect, is_sequenced, account_field, owner, definition)
        SELECT d.type, d.version, d.queue_name, d.priority, d.batch_size, d.is_effect, d.is_sequenced, d.account_field,
               d.owner, d.definition
          FROM declared d
         ORDER BY d.type
        ON CONFLICT (type) DO UPDATE
           SET version = excluded.version, queue_name = excluded.queue_name, priority = excluded.priority,
               batch_size = excluded.batch_size, is_effect = excluded.is_effect, is_sequenced = excluded.is_sequenced,
               account_field = excluded.account_field, owner = excluded.owner, definition = excluded.definition,
               replaced = array_remove(array_remove(t.replaced, t.definition) || t.definition, excluded.definition),
               retired_at = NULL
         WHERE (t.definition <> excluded.definition OR t.retired_at IS NOT NULL)
           AND (p_deployment OR excluded.version >= t.version AND excluded.definition <> ALL (t.replaced))
        RETURNING t.type
    )
    SELECT array_agg(w.type ORDER BY w.type) INTO changed FROM written w;
    IF p_deployment THEN
        WITH declared AS (
            SELECT d.type, d.owner FROM jsonb_to_recordset(p_types) AS d (type text, owner text)
        ), gone AS (
            UPDATE engine.event_types t
               SET retired_at = now(), replaced = array_remove(t.replaced, t.definition) || t.definition
             WHERE t.retired_at IS NULL AND t.type NOT IN (SELECT d.type FROM declared d)
               AND (t.owner IN (SELECT d.owner FROM declared d)
                    OR t.owner = split_part(t.type, '/', 1)
                       AND t.owner IN (SELECT split_part(d.type, '/', 1) FROM declared d))
            RETURNING t.type
        )
        SELECT array_agg(g.type ORDER BY g.type) INTO retired FROM gone g;
    END IF;
    RETURN coalesce(changed, '{}') || coalesce(retired, '{}');
END $$;
COMMENT ON COLUMN engine.event_types.owner IS 'The name of the domain that serves the type.';
