-- Outgoing webhooks ---------------------------------------------------------------------------------
-- Endpoints that a workspace or an organisation registers for types of its events, the secrets that
-- sign the requests, and one delivery for each event and endpoint.

CREATE SCHEMA IF NOT EXISTS webhooks;
GRANT USAGE ON SCHEMA webhooks TO authenticated, service_role;

-- Endpoints ---------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS webhooks.endpoints (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid REFERENCES tenancy.workspaces (id) ON DELETE CASCADE,
    org_id uuid REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    tenant_id uuid NOT NULL GENERATED ALWAYS AS (coalesce(workspace_id, org_id)) STORED,
    url text NOT NULL CHECK (url ~ '^https?://'),
    description text NOT NULL DEFAULT '',
    event_types text[] NOT NULL CHECK (cardinality(event_types) > 0),
    max_calls integer NOT NULL DEFAULT 4 CHECK (max_calls BETWEEN 1 AND 20),
    is_enabled boolean NOT NULL DEFAULT true,
    disabled_reason text CHECK (disabled_reason IN ('user', 'gone', 'failing')),
    disabled_at timestamptz,
    failing_since timestamptz,
    created_by text NOT NULL CHECK (created_by <> ''),
    changed_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT endpoints_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT endpoints_one_tenant CHECK (num_nonnulls(workspace_id, org_id) = 1),
    CONSTRAINT endpoints_disabled CHECK (
        is_enabled = (disabled_at IS NULL) AND is_enabled = (disabled_reason IS NULL))
);
CREATE INDEX IF NOT EXISTS endpoints_workspace_id_idx ON webhooks.endpoints (workspace_id);
CREATE INDEX IF NOT EXISTS endpoints_org_id_idx ON webhooks.endpoints (org_id);
COMMENT ON TABLE webhooks.endpoints IS 'URLs that get a signed request for each event of some types of their tenant.';
COMMENT ON COLUMN webhooks.endpoints.tenant_id IS
    'The tenant of the events: the workspace, or the organisation for events of collection runs.';
COMMENT ON COLUMN webhooks.endpoints.event_types IS 'Public names, such as robot.job.completed.';
COMMENT ON COLUMN webhooks.endpoints.max_calls IS 'Most concurrent requests to the endpoint, over all workers.';
COMMENT ON COLUMN webhooks.endpoints.disabled_reason IS
    'user: by an admin. gone: it answered 410. failing: no request succeeded for TALLYMAN_WEBHOOK_FAILING_DAYS.';
COMMENT ON COLUMN webhooks.endpoints.failing_since IS 'The first failure since the last success; null: none.';
CREATE OR REPLACE TRIGGER endpoints_updated_at BEFORE UPDATE ON webhooks.endpoints
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- Secrets -----------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS webhooks.secrets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    sealed text NOT NULL CHECK (sealed LIKE 'sealed:%'),
    expires_at timestamptz,
    created_by text NOT NULL CHECK (created_by <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT secrets_tenant_id_endpoint_id_fkey FOREIGN KEY (tenant_id, endpoint_id)
        REFERENCES webhooks.endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS secrets_tenant_id_endpoint_id_idx ON webhooks.secrets (tenant_id, endpoint_id);
CREATE UNIQUE INDEX IF NOT EXISTS secrets_current_key ON webhooks.secrets (endpoint_id) WHERE expires_at IS NULL;
COMMENT ON TABLE webhooks.secrets IS
    'Signing secrets of endpoints: the current one, and during a rotation the former one, which signs as well.';
COMMENT ON COLUMN webhooks.secrets.sealed IS 'Sealed by the application (AES-GCM); never the plain secret.';
COMMENT ON COLUMN webhooks.secrets.expires_at IS 'Null: the current secret. Else the former one signs until then.';

-- Deliveries --------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS webhooks.deliveries (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL CHECK (event_type <> ''),
    body text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'dead', 'discarded')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_attempt_at timestamptz,
    last_status integer,
    last_answer text,
    last_error text,
    delivered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT deliveries_endpoint_id_event_id_key UNIQUE (endpoint_id, event_id),
    CONSTRAINT deliveries_delivered CHECK ((status = 'delivered') = (delivered_at IS NOT NULL)),
    CONSTRAINT deliveries_tenant_id_endpoint_id_fkey FOREIGN KEY (tenant_id, endpoint_id)
        REFERENCES webhooks.endpoints (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS deliveries_tenant_id_endpoint_id_created_at_idx
    ON webhooks.deliveries (tenant_id, endpoint_id, created_at, id);
CREATE INDEX IF NOT EXISTS deliveries_tenant_id_created_at_idx ON webhooks.deliveries (tenant_id, created_at, id);
CREATE INDEX IF NOT EXISTS deliveries_created_at_idx ON webhooks.deliveries (created_at);
CREATE INDEX IF NOT EXISTS deliveries_open_idx ON webhooks.deliveries (tenant_id, created_at, id)
    WHERE status IN ('pending', 'dead');
COMMENT ON TABLE webhooks.deliveries IS 'One event for one endpoint. Its id is the webhook-id of every request.';
COMMENT ON COLUMN webhooks.deliveries.body IS 'The bytes of every request, as UTF-8. The signature covers them.';
COMMENT ON COLUMN webhooks.deliveries.status IS
    'dead: not retried; its request is a dead letter, which can be replayed. discarded: an operator gave it up.';
COMMENT ON COLUMN webhooks.deliveries.attempts IS
    'Requests with an outcome; without those that the endpoint put off with Retry-After.';
COMMENT ON COLUMN webhooks.deliveries.last_answer IS 'The first characters of the last answer''s body.';

-- Policies, then grants ---------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['endpoints', 'secrets', 'deliveries'] LOOP
        EXECUTE format('ALTER TABLE webhooks.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE webhooks.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY %I ON webhooks.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('CREATE POLICY %I ON webhooks.%I FOR SELECT TO authenticated
                        USING (tenancy.is_workspace_member(tenant_id) OR tenancy.is_org_member(tenant_id))',
                       table_name || '_member_select', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks.%I TO service_role', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['endpoints', 'secrets'] LOOP
        EXECUTE format('CREATE POLICY %I ON webhooks.%I FOR INSERT TO authenticated
                        WITH CHECK (tenancy.is_workspace_admin(tenant_id) OR tenancy.is_org_admin(tenant_id))',
                       table_name || '_admin_insert', table_name);
        EXECUTE format('CREATE POLICY %I ON webhooks.%I FOR UPDATE TO authenticated
                        USING (tenancy.is_workspace_admin(tenant_id) OR tenancy.is_org_admin(tenant_id))
                        WITH CHECK (tenancy.is_workspace_admin(tenant_id) OR tenancy.is_org_admin(tenant_id))',
                       table_name || '_admin_update', table_name);
    END LOOP;
END $$;

GRANT SELECT ON webhooks.endpoints, webhooks.deliveries TO authenticated;
GRANT INSERT (id, workspace_id, org_id, url, description, event_types, max_calls, created_by)
    ON webhooks.endpoints TO authenticated;
GRANT UPDATE (is_enabled, disabled_reason, disabled_at, failing_since, changed_by) ON webhooks.endpoints TO authenticated;
-- No person reads a sealed secret, an admin who wrote it neither.
GRANT SELECT (id, tenant_id, endpoint_id, expires_at, created_by, created_at) ON webhooks.secrets TO authenticated;
GRANT INSERT (id, tenant_id, endpoint_id, sealed, created_by) ON webhooks.secrets TO authenticated;
GRANT UPDATE (expires_at) ON webhooks.secrets TO authenticated;
