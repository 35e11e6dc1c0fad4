-- Fair effects -----------------------------------------------------------------------------------
-- A worker that is free takes the next row of effects from the tenant that has had the least of it, and
-- within the tenant from the account that has. A row's share says whose it is: "tenant/account", or
-- "tenant" alone; `publish()` writes it into the row's arguments and never puts two shares into one row.
-- Which share is next, the worker decides (app/engine/shares.py); here it finds out which ones wait, and
-- takes a row of one.
--
-- The shares that wait are found by a skip scan: one look into the index a share, however many rows each
-- has. Looks are bounded: the scan starts after the tenant that was served last, and ends after p_tenants.
--
-- The planner's settings are pinned because the statistics of a queue are always wrong. A share that is
-- looked for is given as a range: were it an equality, the order by share would be dropped as redundant,
-- and the index by priority alone would look as good.

CREATE TABLE IF NOT EXISTS engine.tenant_weights (
    tenant_id uuid PRIMARY KEY,
    weight double precision NOT NULL CHECK (weight > 0 AND weight <= 1000),
    set_by text NOT NULL CHECK (set_by <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    set_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE engine.tenant_weights IS
    'Tenants whose share of the deliveries of effects is not the usual one. A tenant without a row has the weight 1.';
COMMENT ON COLUMN engine.tenant_weights.weight IS
    'While several tenants have effects waiting, each gets deliveries in proportion to its weight.';

ALTER TABLE engine.tenant_weights ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.tenant_weights FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS tenant_weights_service ON engine.tenant_weights;
CREATE POLICY tenant_weights_service ON engine.tenant_weights TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON engine.tenant_weights TO service_role;

-- Whose a row is ---------------------------------------------------------------------------------
-- A row that an older program published has no share: it belongs to the tenant of its first event. What
-- says neither belongs to nobody, which is a tenant too. Bounded, because it is the key of an index: no
-- argument of a row may make its insertion fail. Never empty, so that every share comes after ''.

CREATE OR REPLACE FUNCTION engine.share(p_args jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT left(coalesce(nullif(p_args ->> 'share', ''), nullif(p_args -> 'events' -> 0 ->> 'tenantid', ''),
                         nullif(p_args ->> 'tenantid', ''), '-'), 160)
$$;
COMMENT ON FUNCTION engine.share(jsonb) IS
    'Whose a row of effects is, by its arguments: "tenant/account", "tenant", or "-" for nobody''s.';

-- Which shares wait ------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION engine.next_share(p_queue varchar, p_after text, p_before text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    found text;
BEGIN
    SELECT engine.share(j.args) INTO found FROM public.procrastinate_jobs j
     WHERE j.status = 'todo' AND j.task_name = 'perform' AND j.queue_name = p_queue
       AND engine.share(j.args) COLLATE "C" > p_after AND engine.share(j.args) COLLATE "C" < p_before
       AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
     ORDER BY engine.share(j.args) COLLATE "C"
     LIMIT 1;
    RETURN found;
END $$;
COMMENT ON FUNCTION engine.next_share(varchar, text, text) IS
    'The first share between two others of which a row of a queue is due; null: there is none.';

CREATE OR REPLACE FUNCTION engine.next_accounts(
    p_queue varchar, p_first text, p_before text, p_served text, p_most integer
) RETURNS SETOF text LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    -- Nothing is between a share and itself with the lowest character appended.
    lowest CONSTANT text := chr(1);
    has_wrapped boolean := p_served IS NULL;
    found text := CASE WHEN p_served IS NULL THEN p_first ELSE engine.next_share(p_queue, p_served, p_before) END;
BEGIN
    FOR n IN 1 .. p_most LOOP
        IF found IS NULL AND NOT has_wrapped THEN
            has_wrapped := true;
            found := p_first;
        END IF;
        EXIT WHEN found IS NULL;
        RETURN NEXT found;
        found := engine.next_share(p_queue, found,
            CASE WHEN has_wrapped AND p_served IS NOT NULL THEN p_served || lowest ELSE p_before END);
    END LOOP;
END $$;
COMMENT ON FUNCTION engine.next_accounts(varchar, text, text, text, integer) IS
    'Up to p_most shares of a tenant that wait in a queue, the one after p_served first; p_first is the first of all.';

CREATE OR REPLACE FUNCTION engine.waiting_shares(
    p_queues text[], p_after text, p_tenants integer, p_accounts integer, p_served text[] DEFAULT '{}'
) RETURNS TABLE (queue_name text, share text, weight double precision)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    -- '0' is the character after '/': a tenant's shares come before it, those of the next tenant after it.
    beyond CONSTANT text := '0';
    here CONSTANT text := CASE WHEN p_after = '' THEN '' ELSE p_after || beyond END;
    tenant text;
    first text;
    stop text;
BEGIN
    FOREACH queue_name IN ARRAY p_queues LOOP
        first := engine.next_share(queue_name, here, chr(1114111));
        stop := chr(1114111);
        FOR n IN 1 .. p_tenants LOOP
            IF first IS NULL AND stop <> here THEN
                stop := here; -- from the start, up to where it began
                first := engine.next_share(queue_name, '', stop);
            END IF;
            EXIT WHEN first IS NULL;
            tenant := split_part(first, '/', 1);
            weight := engine.tenant_weight(tenant);
            FOR share IN
                SELECT engine.next_accounts(queue_name, first, tenant || beyond,
                    (SELECT max(s) FROM unnest(p_served) AS s WHERE split_part(s, '/', 1) = tenant), p_accounts)
            LOOP
                RETURN NEXT;
            END LOOP;
            first := engine.next_share(queue_name, tenant || beyond, stop);
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION engine.waiting_shares(text[], text, integer, integer, text[]) IS
    'The shares of which rows are due, with their tenants'' weights: of each queue up to p_tenants tenants, beginning '
    'after p_after, and of each tenant up to p_accounts accounts, beginning after the one in p_served.';

CREATE OR REPLACE FUNCTION engine.tenant_weight(p_tenant text) RETURNS double precision
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce((SELECT w.weight FROM engine.tenant_weights w
                      WHERE w.tenant_id = CASE WHEN p_tenant ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                               THEN p_tenant::uuid END), 1)
$$;
COMMENT ON FUNCTION engine.tenant_weight(text) IS 'The weight of the tenant of a share; 1 where nobody set one.';

-- Take a row of a share --------------------------------------------------------------------------
-- As Procrastinate's own fetch takes one of a queue: the row is `doing`, its trigger writes the event
-- `started`, and rows that somebody else is taking are passed over.

CREATE OR REPLACE FUNCTION engine.fetch_share(p_queue varchar, p_share text, p_worker_id bigint)
RETURNS public.procrastinate_jobs
LANGUAGE plpgsql SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    taken public.procrastinate_jobs;
BEGIN
    UPDATE public.procrastinate_jobs j SET status = 'doing', worker_id = p_worker_id
      FROM (SELECT c.id FROM public.procrastinate_jobs c
             WHERE c.status = 'todo' AND c.task_name = 'perform' AND c.queue_name = p_queue
               AND engine.share(c.args) COLLATE "C" >= p_share AND engine.share(c.args) COLLATE "C" <= p_share
               AND (c.scheduled_at IS NULL OR c.scheduled_at <= now()) AND c.lock IS NULL
             ORDER BY engine.share(c.args) COLLATE "C", c.priority DESC, c.id
             LIMIT 1
               FOR UPDATE SKIP LOCKED) free
     WHERE j.id = free.id
    RETURNING j.* INTO taken;
    RETURN taken;
END $$;
COMMENT ON FUNCTION engine.fetch_share(varchar, text, bigint) IS
    'Takes the next due row of a share for a worker; a row of nulls: there is none that is not taken.';

REVOKE ALL ON FUNCTION engine.share(jsonb), engine.next_share(varchar, text, text),
    engine.next_accounts(varchar, text, text, text, integer), engine.tenant_weight(text),
    engine.waiting_shares(text[], text, integer, integer, text[]), engine.fetch_share(varchar, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION engine.share(jsonb), engine.next_share(varchar, text, text),
    engine.next_accounts(varchar, text, text, text, integer), engine.tenant_weight(text),
    engine.waiting_shares(text[], text, integer, integer, text[]), engine.fetch_share(varchar, text, bigint) TO service_role;
