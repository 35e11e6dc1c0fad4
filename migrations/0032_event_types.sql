-- Event types ------------------------------------------------------------------------------------
-- One row for each type of event that this program serves: where engine.publish() puts its events.
-- The code is the source: `db migrate` and each worker at its start write their routes here
-- (engine.register_event_types).
--
-- During a rolling deployment, programs of two versions write to this table. A row therefore remembers
-- the definitions that it replaced. A worker whose definition is among them is of an older program: it
-- changes nothing. Nor does a worker that knows only an older version of the type. `db migrate` always
-- writes: after a rollback, run it with the older program.
--
-- No worker removes a row. `db migrate` retires the types that its program no longer serves, of the
-- owners that it has; the row stays, so that no older worker brings the type back.

CREATE TABLE IF NOT EXISTS engine.event_types (
    type text PRIMARY KEY CHECK (type <> ''),
    version integer NOT NULL CHECK (version > 0),
    queue_name text NOT NULL CHECK (queue_name <> ''),
    priority integer NOT NULL,
    batch_size integer NOT NULL CHECK (batch_size > 0),
    is_effect boolean NOT NULL,
    is_sequenced boolean NOT NULL,
    account_field text CHECK (account_field <> ''),
    owner text NOT NULL CHECK (owner <> ''),
    definition text NOT NULL,
    replaced text[] NOT NULL DEFAULT '{}',
    retired_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (NOT (is_effect AND is_sequenced))
);
COMMENT ON TABLE engine.event_types IS
    'Types of events and where they go. Written by `db migrate` and by workers at their start, from the code.';
COMMENT ON COLUMN engine.event_types.version IS 'The newest version of the payload; events of older versions are read too.';
COMMENT ON COLUMN engine.event_types.batch_size IS 'Events in one queue row, at most.';
COMMENT ON COLUMN engine.event_types.is_effect IS 'True: its events ask for outside calls (task `perform`); false: a handler applies them.';
COMMENT ON COLUMN engine.event_types.is_sequenced IS 'Events of one subject are applied in the order of their publication.';
COMMENT ON COLUMN engine.event_types.account_field IS
    'The field of an effect''s data that names an account of its tenant. Fair sharing is per account.';
COMMENT ON COLUMN engine.event_types.owner IS 'The domain that serves the type: its part before the slash.';
COMMENT ON COLUMN engine.event_types.definition IS 'A digest of the columns before it.';
COMMENT ON COLUMN engine.event_types.replaced IS 'The definitions that this one replaced: those of older programs.';
COMMENT ON COLUMN engine.event_types.retired_at IS 'Since when no program serves the type; engine.publish() refuses its events.';

ALTER TABLE engine.event_types ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.event_types FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS event_types_service ON engine.event_types;
CREATE POLICY event_types_service ON engine.event_types TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON engine.event_types TO service_role;

DROP TRIGGER IF EXISTS update_event_types_updated_at ON engine.event_types;
CREATE TRIGGER update_event_types_updated_at BEFORE UPDATE ON engine.event_types
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

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
             WHERE t.retired_at IS NULL AND t.owner IN (SELECT d.owner FROM declared d)
               AND t.type NOT IN (SELECT d.type FROM declared d)
            RETURNING t.type
        )
        SELECT array_agg(g.type ORDER BY g.type) INTO retired FROM gone g;
    END IF;
    RETURN coalesce(changed, '{}') || coalesce(retired, '{}');
END $$;
COMMENT ON FUNCTION engine.register_event_types(jsonb, boolean) IS
    'Writes the types that a program serves, with the columns of engine.event_types up to owner; returns the types whose '
    'rows changed. p_deployment: it replaces what newer programs wrote, and retires types of its owners that it lacks.';

REVOKE ALL ON FUNCTION engine.register_event_types(jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.register_event_types(jsonb, boolean) TO service_role;
