-- Retention of plans and of the record of actions ------------------------------------------------
-- A plan that nobody has used for long expires: it can no longer be replayed, and its letters go in batches. The record
-- of actions goes after years, by a function alone: a record that its writers could change would be none.

ALTER TABLE engine.replay_plans
    ADD COLUMN IF NOT EXISTS last_used_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS expired_at timestamptz;
COMMENT ON COLUMN engine.replay_plans.last_used_at IS
    'When it was made, or a replay of it last began or ended. Retention counts from then on.';
COMMENT ON COLUMN engine.replay_plans.expired_at IS
    'Set once it is past its retention: from then on it is not replayed, and its letters are deleted in batches.';

-- For the function below, which acts as the tables' owner, to whom forced policies apply too. Read and delete only:
-- nothing passes WITH CHECK (false), and no row of the last year passes USING.
DROP POLICY IF EXISTS actions_definer ON engine.actions;
CREATE POLICY actions_definer ON engine.actions TO CURRENT_USER
    USING (at < now() - interval '365 days') WITH CHECK (false);

CREATE OR REPLACE FUNCTION engine.prune_actions(p_days double precision, p_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    gone integer;
BEGIN
    DELETE FROM engine.actions a WHERE a.ctid = ANY(ARRAY(
        SELECT old.ctid FROM engine.actions old
         WHERE old.at < now() - greatest(p_days, 365) * interval '1 day'
         LIMIT p_most FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
COMMENT ON FUNCTION engine.prune_actions(double precision, integer) IS
    'Deletes up to p_most actions older than p_days and says how many. Never one younger than 365 days, whatever is asked.';

REVOKE ALL ON FUNCTION engine.prune_actions(double precision, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.prune_actions(double precision, integer) TO service_role;
