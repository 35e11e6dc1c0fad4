-- What admins do about dead letters --------------------------------------------------------------
-- A plan freezes a set of letters with what a replay of each would do; replaying walks through it.
-- Everything that anybody does is in `actions`.

CREATE TABLE IF NOT EXISTS engine.actions (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL CHECK (actor <> ''),
    action text NOT NULL,
    subject text,
    reason text,
    details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS actions_subject_idx ON engine.actions (subject, id);
CREATE INDEX IF NOT EXISTS actions_at_idx ON engine.actions (at);
COMMENT ON TABLE engine.actions IS 'Who did what, when and why: every action of an admin. Rows are only ever added.';
COMMENT ON COLUMN engine.actions.subject IS 'What it was done to: a dead letter''s or a plan''s id, a queue''s name.';

CREATE TABLE IF NOT EXISTS engine.replay_plans (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    filters jsonb NOT NULL DEFAULT '{}',
    items_to_change integer NOT NULL DEFAULT 0,
    counters_to_change integer NOT NULL DEFAULT 0,
    finished_at timestamptz
);
COMMENT ON TABLE engine.replay_plans IS 'Frozen sets of dead letters, with what a replay would change.';
COMMENT ON COLUMN engine.replay_plans.filters IS 'How the letters were chosen.';
COMMENT ON COLUMN engine.replay_plans.items_to_change IS 'Items of jobs that a replay would change.';
COMMENT ON COLUMN engine.replay_plans.counters_to_change IS 'Jobs whose counters a replay would change.';

CREATE TABLE IF NOT EXISTS engine.replay_plan_letters (
    plan_id uuid NOT NULL REFERENCES engine.replay_plans (id) ON DELETE CASCADE,
    letter_id uuid NOT NULL REFERENCES engine.failed_jobs (id) ON DELETE CASCADE,
    position integer NOT NULL,
    event_id uuid,
    failed_at timestamptz NOT NULL,
    class text NOT NULL CHECK (class IN
        ('already_applied', 'valid', 'valid_after_upcast', 'invalid', 'in_doubt', 'blocked')),
    detail text,
    replayed_at timestamptz,
    awaited_id uuid,
    outcome text CHECK (outcome IN ('applied', 'dead', 'skipped')),
    PRIMARY KEY (plan_id, letter_id)
);
CREATE INDEX IF NOT EXISTS replay_plan_letters_letter_id_idx ON engine.replay_plan_letters (letter_id);
CREATE INDEX IF NOT EXISTS replay_plan_letters_open_idx ON engine.replay_plan_letters (plan_id, position)
    WHERE replayed_at IS NULL;
COMMENT ON TABLE engine.replay_plan_letters IS 'One dead letter of a plan.';
COMMENT ON COLUMN engine.replay_plan_letters.failed_at IS 'When the letter had died as the plan was made; another one now makes the plan stale.';
COMMENT ON COLUMN engine.replay_plan_letters.class IS 'What a replay would come to.';
COMMENT ON COLUMN engine.replay_plan_letters.awaited_id IS 'The event whose end is the outcome: the letter''s own, or the next attempt of a revived effect.';

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['actions', 'replay_plans', 'replay_plan_letters'] LOOP
        EXECUTE format('ALTER TABLE engine.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE engine.%I FORCE ROW LEVEL SECURITY', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['replay_plans', 'replay_plan_letters'] LOOP
        EXECUTE format('CREATE POLICY %I ON engine.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON engine.%I TO service_role', table_name);
    END LOOP;
END $$;

-- A record that could be changed would be none.
CREATE POLICY actions_service_select ON engine.actions FOR SELECT TO service_role USING (true);
CREATE POLICY actions_service_insert ON engine.actions FOR INSERT TO service_role WITH CHECK (true);
GRANT SELECT, INSERT ON engine.actions TO service_role;
