-- The search for the shares that wait, faster ------------------------------------------------------
-- A function that sets something is left through the server's list of settings each time. So the planner's
-- settings are pinned once a search, around all of its looks, and no more at each of them.

CREATE OR REPLACE FUNCTION engine.next_share(p_queue varchar, p_after text, p_before text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
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

CREATE OR REPLACE FUNCTION engine.waiting_shares(
    p_queues text[], p_after text, p_tenants integer, p_accounts integer, p_served text[] DEFAULT '{}'
) RETURNS TABLE (queue_name text, share text, weight double precision)
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
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
