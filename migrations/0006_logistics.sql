-- Logistics --------------------------------------------------------------------------------------
-- Robots that enter a workspace's orders into its carriers' portals: the carriers' configurations
-- and coverage, the orders, and the robot jobs with their items.

CREATE SCHEMA IF NOT EXISTS logistics;
GRANT USAGE ON SCHEMA logistics TO authenticated, service_role;

-- Carriers ---------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS logistics.carrier_configs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces (id) ON DELETE CASCADE,
    carrier text NOT NULL DEFAULT 'coordinadora',
    portal_username text,
    portal_password text,
    is_enabled boolean NOT NULL DEFAULT false,
    portal_url text,
    max_sessions integer NOT NULL DEFAULT 4 CHECK (max_sessions BETWEEN 1 AND 100),
    has_password boolean NOT NULL GENERATED ALWAYS AS (portal_password IS NOT NULL) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT carrier_configs_workspace_id_carrier_key UNIQUE (workspace_id, carrier),
    CONSTRAINT carrier_configs_password_sealed CHECK (portal_password LIKE 'sealed:%')
);
COMMENT ON TABLE logistics.carrier_configs IS 'A workspace''s account with one carrier''s portal.';
COMMENT ON COLUMN logistics.carrier_configs.portal_password IS 'Sealed by the application (AES-GCM); never the plain password.';
COMMENT ON COLUMN logistics.carrier_configs.has_password IS 'For those who may not read the password, sealed as it is.';
COMMENT ON COLUMN logistics.carrier_configs.portal_url IS
    'Where the portal answers. Set by operators alone: workers call it, so a tenant may not choose it.';
COMMENT ON COLUMN logistics.carrier_configs.max_sessions IS 'Portal calls at once for this account, over all workers.';

CREATE OR REPLACE TRIGGER carrier_configs_updated_at BEFORE UPDATE ON logistics.carrier_configs
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- Coverage ---------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION logistics.place_key(p_name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = '' AS $$
    -- Case, accents, punctuation and a trailing "D.C." do not tell two places apart.
    -- Lower case comes last: where the database's locale is C it knows no accented letters.
    SELECT regexp_replace(btrim(regexp_replace(
               lower(regexp_replace(normalize(p_name, NFKD), '[\u0300-\u036f]', '', 'g')),
               '[^[:alnum:]]+', ' ', 'g')), ' d ?c$', '')
$$;
COMMENT ON FUNCTION logistics.place_key(text) IS 'The name of a city or department as it is compared: "Bogotá, D.C." and "BOGOTA" are one.';

CREATE TABLE IF NOT EXISTS logistics.carrier_coverage (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    carrier text NOT NULL DEFAULT 'coordinadora',
    city text NOT NULL CHECK (city <> ''),
    department text NOT NULL,
    carrier_city text NOT NULL CHECK (carrier_city <> ''),
    is_active boolean NOT NULL DEFAULT true,
    city_key text NOT NULL GENERATED ALWAYS AS (logistics.place_key(city)) STORED,
    department_key text NOT NULL GENERATED ALWAYS AS (logistics.place_key(department)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT carrier_coverage_carrier_city_department_key UNIQUE (carrier, city, department)
);
CREATE INDEX IF NOT EXISTS carrier_coverage_lookup_idx ON logistics.carrier_coverage (carrier, city_key, department_key);
COMMENT ON TABLE logistics.carrier_coverage IS 'The cities that a carrier serves; the same for every workspace.';
COMMENT ON COLUMN logistics.carrier_coverage.carrier_city IS 'The exact string that the carrier''s portal wants.';

CREATE OR REPLACE TRIGGER carrier_coverage_updated_at BEFORE UPDATE ON logistics.carrier_coverage
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- Orders -----------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS logistics.orders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces (id) ON DELETE CASCADE,
    reference text NOT NULL CHECK (reference <> ''),
    recipient_name text NOT NULL,
    recipient_document text,
    recipient_phone text,
    recipient_email text,
    address text NOT NULL,
    city text NOT NULL,
    department text,
    units integer NOT NULL DEFAULT 1 CHECK (units > 0),
    weight_kg numeric(10, 3) NOT NULL DEFAULT 1 CHECK (weight_kg > 0),
    declared_value_cents bigint NOT NULL DEFAULT 0 CHECK (declared_value_cents >= 0),
    collect_on_delivery_cents bigint NOT NULL DEFAULT 0 CHECK (collect_on_delivery_cents >= 0),
    tracking_number text,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'shipped', 'cancelled')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT orders_workspace_id_reference_key UNIQUE (workspace_id, reference)
);
CREATE INDEX IF NOT EXISTS orders_workspace_id_id_idx ON logistics.orders (workspace_id, id);
COMMENT ON TABLE logistics.orders IS
    'Customer orders that are to be shipped. Changed through the orders module alone; each change publishes order/updated.';
COMMENT ON COLUMN logistics.orders.reference IS 'The shop''s own number for the order; unique in its workspace.';
COMMENT ON COLUMN logistics.orders.tracking_number IS 'The carrier''s number, once a robot has entered the order.';

CREATE OR REPLACE TRIGGER orders_updated_at BEFORE UPDATE ON logistics.orders
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- Robot jobs -------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS logistics.robot_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces (id) ON DELETE CASCADE,
    carrier text NOT NULL DEFAULT 'coordinadora',
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    total_items integer NOT NULL DEFAULT 0,
    success_count integer NOT NULL DEFAULT 0,
    error_count integer NOT NULL DEFAULT 0,
    idempotency_key text,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
    request_fingerprint text,
    CONSTRAINT robot_jobs_workspace_id_idempotency_key_key UNIQUE (workspace_id, idempotency_key),
    CONSTRAINT robot_jobs_counts CHECK (
        success_count >= 0 AND error_count >= 0 AND success_count + error_count <= total_items)
);
-- The unique constraint serves (workspace_id) and (workspace_id, idempotency_key) too.
CREATE INDEX IF NOT EXISTS robot_jobs_workspace_id_idx ON logistics.robot_jobs (workspace_id, created_at);
CREATE INDEX IF NOT EXISTS robot_jobs_workspace_id_status_idx ON logistics.robot_jobs (workspace_id, status);
COMMENT ON TABLE logistics.robot_jobs IS 'One batch of orders for one carrier. The counters equal the items at every commit.';
COMMENT ON COLUMN logistics.robot_jobs.generation IS
    'Starts at 1; each retry of failed items begins the next. A job completes once a generation.';
COMMENT ON COLUMN logistics.robot_jobs.request_fingerprint IS
    'SHA-256 of the carrier and the order ids: tells a repeated request from another one with the same key.';

CREATE OR REPLACE TRIGGER robot_jobs_updated_at BEFORE UPDATE ON logistics.robot_jobs
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER robot_jobs_progress_insert AFTER INSERT ON logistics.robot_jobs
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION engine.notify_progress();
CREATE OR REPLACE TRIGGER robot_jobs_progress_update AFTER UPDATE ON logistics.robot_jobs
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION engine.notify_progress();

CREATE TABLE IF NOT EXISTS logistics.robot_job_items (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id uuid NOT NULL REFERENCES logistics.robot_jobs (id) ON DELETE CASCADE,
    order_id uuid NOT NULL REFERENCES logistics.orders (id) ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'success', 'error')),
    tracking_number text,
    validated_city text,
    value_sent jsonb,
    error_type text CHECK (error_type IN ('validation', 'portal', 'timeout', 'unknown')),
    error_message text,
    retry_count integer NOT NULL DEFAULT 0 CHECK (retry_count BETWEEN 0 AND 10000),
    last_retry_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT robot_job_items_job_id_order_id_key UNIQUE (job_id, order_id)
);
CREATE INDEX IF NOT EXISTS robot_job_items_order_id_idx ON logistics.robot_job_items (order_id);
CREATE INDEX IF NOT EXISTS robot_job_items_job_id_id_idx ON logistics.robot_job_items (job_id, id);
COMMENT ON TABLE logistics.robot_job_items IS 'One order in one batch.';
COMMENT ON COLUMN logistics.robot_job_items.tracking_number IS 'The carrier''s number for the order; null until success.';
COMMENT ON COLUMN logistics.robot_job_items.validated_city IS 'The carrier''s exact city string that was used.';
COMMENT ON COLUMN logistics.robot_job_items.value_sent IS 'What was sent to the portal, for audit; no credentials.';
COMMENT ON COLUMN logistics.robot_job_items.retry_count IS
    'The attempt: 0 at first, one more a retry. A result that carries an older one is late and changes nothing.';

CREATE OR REPLACE TRIGGER robot_job_items_updated_at BEFORE UPDATE ON logistics.robot_job_items
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- An item must tie a job and an order of one workspace. A constraint cannot say so without a third
-- copy of the workspace, so each statement's new rows are checked at its end. Under row-level
-- security a foreign job or order is invisible, which fails the check as it should.
CREATE OR REPLACE FUNCTION logistics.check_items_are_of_one_workspace() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    stranger record;
BEGIN
    SELECT a.job_id, a.order_id INTO stranger FROM added a
     WHERE NOT EXISTS (SELECT FROM logistics.robot_jobs j JOIN logistics.orders o USING (workspace_id)
                        WHERE j.id = a.job_id AND o.id = a.order_id)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order % is not of the workspace of job %', stranger.order_id, stranger.job_id
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION logistics.check_items_are_of_one_workspace() IS 'No item ties an order to a job of another workspace.';

CREATE OR REPLACE TRIGGER robot_job_items_one_workspace_insert AFTER INSERT ON logistics.robot_job_items
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT
    EXECUTE FUNCTION logistics.check_items_are_of_one_workspace();

-- An item's job and order never change.
CREATE OR REPLACE FUNCTION logistics.refuse_to_move() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'the job and the order of an item never change' USING ERRCODE = 'restrict_violation';
END $$;
COMMENT ON FUNCTION logistics.refuse_to_move() IS 'A row trigger that lets nothing through.';
CREATE OR REPLACE TRIGGER robot_job_items_never_move BEFORE UPDATE OF job_id, order_id ON logistics.robot_job_items
    FOR EACH ROW WHEN (OLD.job_id <> NEW.job_id OR OLD.order_id <> NEW.order_id)
    EXECUTE FUNCTION logistics.refuse_to_move();

-- Policies, then grants --------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'carrier_configs', 'carrier_coverage', 'orders', 'robot_jobs', 'robot_job_items'
    ] LOOP
        EXECUTE format('ALTER TABLE logistics.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE logistics.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY %I ON logistics.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON logistics.%I TO service_role', table_name);
    END LOOP;
END $$;

CREATE POLICY carrier_configs_member_select ON logistics.carrier_configs FOR SELECT TO authenticated
    USING (tenancy.is_workspace_member(workspace_id));
CREATE POLICY carrier_configs_admin_insert ON logistics.carrier_configs FOR INSERT TO authenticated
    WITH CHECK (tenancy.is_workspace_admin(workspace_id));
CREATE POLICY carrier_configs_admin_update ON logistics.carrier_configs FOR UPDATE TO authenticated
    USING (tenancy.is_workspace_admin(workspace_id)) WITH CHECK (tenancy.is_workspace_admin(workspace_id));
CREATE POLICY carrier_configs_admin_delete ON logistics.carrier_configs FOR DELETE TO authenticated
    USING (tenancy.is_workspace_admin(workspace_id));
GRANT SELECT (id, workspace_id, carrier, portal_username, has_password, is_enabled, portal_url, max_sessions, created_at,
              updated_at)
    ON logistics.carrier_configs TO authenticated;
GRANT INSERT (id, workspace_id, carrier, portal_username, portal_password, is_enabled) ON logistics.carrier_configs TO authenticated;
GRANT UPDATE (portal_username, portal_password, is_enabled) ON logistics.carrier_configs TO authenticated;
GRANT DELETE ON logistics.carrier_configs TO authenticated;

CREATE POLICY carrier_coverage_select ON logistics.carrier_coverage FOR SELECT TO authenticated USING (true);
GRANT SELECT ON logistics.carrier_coverage TO authenticated;

CREATE POLICY orders_member_select ON logistics.orders FOR SELECT TO authenticated
    USING (tenancy.is_workspace_member(workspace_id));
GRANT SELECT ON logistics.orders TO authenticated;

CREATE POLICY robot_jobs_member_select ON logistics.robot_jobs FOR SELECT TO authenticated
    USING (tenancy.is_workspace_member(workspace_id));
CREATE POLICY robot_jobs_member_insert ON logistics.robot_jobs FOR INSERT TO authenticated
    WITH CHECK (tenancy.is_workspace_member(workspace_id));
CREATE POLICY robot_jobs_member_update ON logistics.robot_jobs FOR UPDATE TO authenticated
    USING (tenancy.is_workspace_member(workspace_id)) WITH CHECK (tenancy.is_workspace_member(workspace_id));
-- Counters, status and generation are the engine's alone: they equal the items at every commit.
GRANT SELECT ON logistics.robot_jobs TO authenticated;
GRANT INSERT (id, workspace_id, carrier, idempotency_key) ON logistics.robot_jobs TO authenticated;
GRANT UPDATE (carrier, idempotency_key) ON logistics.robot_jobs TO authenticated;

CREATE POLICY robot_job_items_member_select ON logistics.robot_job_items FOR SELECT TO authenticated
    USING (EXISTS (SELECT FROM logistics.robot_jobs j
                   WHERE j.id = job_id AND tenancy.is_workspace_member(j.workspace_id)));
GRANT SELECT ON logistics.robot_job_items TO authenticated;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA logistics FROM PUBLIC;
GRANT EXECUTE ON FUNCTION logistics.place_key(text) TO authenticated, service_role;

-- Realtime ---------------------------------------------------------------------------------------
-- Supabase's browsers follow items through this publication.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime') THEN
        CREATE PUBLICATION supabase_realtime;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_publication_tables WHERE pubname = 'supabase_realtime'
                   AND schemaname = 'logistics' AND tablename = 'robot_job_items') THEN
        ALTER PUBLICATION supabase_realtime ADD TABLE logistics.robot_job_items;
    END IF;
END $$;
