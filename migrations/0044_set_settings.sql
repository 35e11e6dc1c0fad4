-- Settings, and what a change does to runs ----------------------------------------------------------
-- A change of an organisation's settings pauses and wakes its runs in the same transaction. collection.apply_settings()
-- does both and returns the events to publish. Operators call it by the program. An organisation's admin calls
-- collection.set_settings() as `authenticated`: it checks the person, applies the settings and publishes the events.

CREATE OR REPLACE FUNCTION collection.wake(p_run_ids uuid[], p_reasons text[], p_actor text) RETURNS SETOF uuid
LANGUAGE sql SET search_path = '' AS $$
    -- A run continues if its next page fits its cap, or if no page is left. Its cap is its own, or the organisation's
    -- now: budget_cap_cents may be above that, because it follows a lower cap only as reservations are released.
    UPDATE collection.collection_runs r
       SET pause_reason = 'place', changed_by = p_actor
     WHERE r.id = ANY(p_run_ids) AND r.status = 'paused' AND r.pause_reason = ANY(p_reasons) AND r.overrun_cents = 0
       AND r.actual_cost_cents + r.reserved_cost_cents
           + coalesce((SELECT min(p.price_cents) FROM collection.collection_pages p
                        WHERE p.run_id = r.id AND p.status = 'pending'), 0)
           <= coalesce(r.cap_override_cents,
                       (SELECT s.budget_cap_cents FROM collection.collection_settings s WHERE s.org_id = r.org_id),
                       r.budget_cap_cents)
    RETURNING r.id
$$;
COMMENT ON FUNCTION collection.wake(uuid[], text[], text) IS
    'Lets those of some locked runs wait for a place that are paused for one of p_reasons and have room; their ids.';

CREATE OR REPLACE FUNCTION collection.run_event(p_type text, p_org_id uuid, p_run_id uuid, p_data jsonb) RETURNS jsonb
LANGUAGE sql SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'specversion', '1.0', 'id', gen_random_uuid(), 'source', 'tallyman/collection', 'type', p_type,
        'dataschema', p_type || '/1', 'subject', p_run_id, 'tenantid', p_org_id,
        'time', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', jsonb_build_object('run_id', p_run_id) || p_data)
$$;
COMMENT ON FUNCTION collection.run_event(text, uuid, uuid, jsonb) IS 'A new event about a run, as a CloudEvents object.';

CREATE OR REPLACE FUNCTION collection.apply_settings(
    p_org_id uuid, p_cap integer, p_percent integer, p_most integer, p_actor text,
    OUT paused uuid[], OUT woken uuid[], OUT events jsonb
) LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    problem text := CASE
        WHEN p_cap NOT BETWEEN 0 AND 2000000000 THEN 'budget_cap_cents: must be 0 to 2000000000 cents'
        WHEN p_percent NOT BETWEEN 1 AND 100 THEN 'soft_warning_percent: must be 1 to 100'
        WHEN p_most NOT BETWEEN 1 AND 1000 THEN 'max_concurrent_runs: must be 1 to 1000' END;
    chosen collection.collection_settings;
    raised uuid[];
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = problem;
    END IF;

    -- Lock order: the organisation's place, then its runs by id.
    INSERT INTO collection.places (org_id) VALUES (p_org_id) ON CONFLICT (org_id) DO NOTHING;
    PERFORM FROM collection.places p WHERE p.org_id = p_org_id FOR NO KEY UPDATE;
    INSERT INTO collection.collection_settings AS s (org_id) VALUES (p_org_id) ON CONFLICT (org_id) DO NOTHING;
    UPDATE collection.collection_settings s
       SET budget_cap_cents = coalesce(p_cap, s.budget_cap_cents),
           soft_warning_percent = coalesce(p_percent, s.soft_warning_percent),
           max_concurrent_runs = coalesce(p_most, s.max_concurrent_runs)
     WHERE s.org_id = p_org_id
    RETURNING * INTO STRICT chosen;
    PERFORM FROM collection.collection_runs r
      WHERE r.org_id = p_org_id AND r.status IN ('pending', 'running', 'paused') ORDER BY r.id FOR NO KEY UPDATE;

    -- The cap of the runs without one of their own. It is never less than what is spent and reserved: it shrinks when
    -- the reserved pages are settled. A higher cap books overruns as far as they fit.
    IF p_cap IS NOT NULL THEN
        raised := ARRAY(SELECT r.id FROM collection.collection_runs r
                         WHERE r.org_id = p_org_id AND r.status IN ('pending', 'running', 'paused')
                           AND r.cap_override_cents IS NULL AND r.budget_cap_cents < p_cap);
        UPDATE collection.collection_runs r
           SET overrun_cents = r.overrun_cents - booked.cents, actual_cost_cents = r.actual_cost_cents + booked.cents,
               budget_cap_cents = greatest(p_cap, r.actual_cost_cents + r.reserved_cost_cents + booked.cents)
          FROM (SELECT own.id, least(own.overrun_cents,
                                     greatest(0, p_cap - own.actual_cost_cents - own.reserved_cost_cents)) AS cents
                  FROM collection.collection_runs own
                 WHERE own.org_id = p_org_id AND own.status IN ('pending', 'running', 'paused')
                   AND own.cap_override_cents IS NULL) booked
         WHERE r.id = booked.id;
    END IF;

    WITH above AS (
        UPDATE collection.collection_runs r
           SET status = 'paused', paused_at = statement_timestamp(), pause_reason = 'budget', changed_by = p_actor
         WHERE r.org_id = p_org_id AND r.status = 'running' AND r.cap_override_cents IS NULL
           AND r.actual_cost_cents + r.overrun_cents > p_cap
        RETURNING r.id)
    SELECT array_agg(a.id) INTO paused FROM above a;
    woken := ARRAY(SELECT collection.wake(raised, ARRAY['budget', 'overrun'], p_actor));

    -- The youngest of too many running runs wait for a place.
    WITH excess AS (
        UPDATE collection.collection_runs r
           SET status = 'paused', paused_at = statement_timestamp(), pause_reason = 'place', changed_by = p_actor
         WHERE r.id IN (SELECT running.id FROM collection.collection_runs running
                         WHERE running.org_id = p_org_id AND running.status = 'running'
                         ORDER BY running.created_at, running.id OFFSET chosen.max_concurrent_runs)
        RETURNING r.id)
    SELECT coalesce(paused, '{}') || coalesce(array_agg(e.id), '{}') INTO paused FROM excess e;

    WITH crossed AS (
        UPDATE collection.collection_runs r SET warned_at = statement_timestamp()
         WHERE r.org_id = p_org_id AND r.status IN ('pending', 'running', 'paused') AND r.warned_at IS NULL
           AND r.actual_cost_cents > 0
           AND r.actual_cost_cents::bigint * 100 >= r.budget_cap_cents::bigint * chosen.soft_warning_percent
        RETURNING r.id, r.actual_cost_cents, r.budget_cap_cents),
    waiting AS (
        SELECT r.id FROM collection.collection_runs r
         WHERE r.org_id = p_org_id AND (r.status = 'pending' OR r.pause_reason = 'place')
           AND (SELECT count(*) FROM collection.collection_runs running
                 WHERE running.org_id = p_org_id AND running.status = 'running') < chosen.max_concurrent_runs
         ORDER BY r.created_at, r.id
         LIMIT 1) -- its handler starts all that have a place
    SELECT coalesce(jsonb_agg(said.event), '[]') INTO events
      FROM (SELECT collection.run_event('collection/run.paused', p_org_id, r.id, jsonb_build_object(
                       'reason', r.pause_reason, 'spent_cents', r.actual_cost_cents, 'cap_cents', r.budget_cap_cents))
              FROM collection.collection_runs r WHERE r.id = ANY(paused)
             UNION ALL
            SELECT collection.run_event('collection/budget.warned', p_org_id, c.id, jsonb_build_object(
                       'spent_cents', c.actual_cost_cents, 'cap_cents', c.budget_cap_cents)) FROM crossed c
             UNION ALL
            SELECT collection.run_event('collection/job.submitted', p_org_id, w.id, '{}') FROM waiting w) said (event);

    INSERT INTO engine.actions (actor, action, subject, details)
    VALUES (p_actor, 'set collection settings', p_org_id,
            jsonb_build_object('cap', p_cap, 'percent', p_percent, 'runs', p_most));
END $$;
COMMENT ON FUNCTION collection.apply_settings(uuid, integer, integer, integer, text) IS
    'Changes an organisation''s settings (null: unchanged) and its runs. The runs that this paused and woke, and the events to publish.';

-- For persons. It acts as `service_role`, which owns it, under the policies of workers.
CREATE OR REPLACE FUNCTION collection.set_settings(
    p_org_id uuid, p_budget_cap_cents integer DEFAULT NULL, p_soft_warning_percent integer DEFAULT NULL,
    p_max_concurrent_runs integer DEFAULT NULL, OUT paused uuid[], OUT woken uuid[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    events jsonb;
BEGIN
    IF NOT tenancy.is_org_admin(p_org_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = 'role: only an admin of the organisation sets its settings';
    END IF;
    SELECT a.paused, a.woken, a.events INTO paused, woken, events
      FROM collection.apply_settings(
               p_org_id, p_budget_cap_cents, p_soft_warning_percent, p_max_concurrent_runs, 'user ' || auth.uid()) a;
    PERFORM engine.publish(events);
END $$;
COMMENT ON FUNCTION collection.set_settings(uuid, integer, integer, integer) IS
    'Changes the settings of an organisation whose admin auth.uid() is (null: unchanged). The runs that this paused and woke.';

REVOKE ALL ON FUNCTION collection.wake(uuid[], text[], text), collection.run_event(text, uuid, uuid, jsonb),
    collection.apply_settings(uuid, integer, integer, integer, text),
    collection.set_settings(uuid, integer, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION collection.wake(uuid[], text[], text), collection.run_event(text, uuid, uuid, jsonb),
    collection.apply_settings(uuid, integer, integer, integer, text) TO service_role;
GRANT EXECUTE ON FUNCTION collection.set_settings(uuid, integer, integer, integer) TO authenticated;

-- An owner of a function needs CREATE on its schema at this moment.
GRANT CREATE ON SCHEMA collection TO service_role;
ALTER FUNCTION collection.set_settings(uuid, integer, integer, integer) OWNER TO service_role;
REVOKE CREATE ON SCHEMA collection FROM service_role;
