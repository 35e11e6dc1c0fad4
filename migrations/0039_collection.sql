-- Collection --------------------------------------------------------------------------------------
-- Runs that collect products and sellers from paid marketplaces under a budget in cents: the settings
-- and accounts of an organisation, its runs, the pages that a run asks for, and the items found.
-- A page's price is reserved before the call and settled after it, so that a run never exceeds its cap.

CREATE SCHEMA IF NOT EXISTS collection;
GRANT USAGE ON SCHEMA collection TO authenticated, service_role;

-- Settings ----------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS collection.collection_settings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    budget_cap_cents integer NOT NULL DEFAULT 2500 CHECK (budget_cap_cents >= 0),
    soft_warning_percent integer NOT NULL DEFAULT 80 CHECK (soft_warning_percent BETWEEN 1 AND 100),
    max_concurrent_runs integer NOT NULL DEFAULT 3 CHECK (max_concurrent_runs >= 1),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT collection_settings_org_id_key UNIQUE (org_id)
);
COMMENT ON TABLE collection.collection_settings IS
    'Limits of an organisation''s collection runs. An organisation without a row has the defaults.';
COMMENT ON COLUMN collection.collection_settings.budget_cap_cents IS 'The cap of a run that has no cap of its own.';
COMMENT ON COLUMN collection.collection_settings.soft_warning_percent IS
    'Percentage of the cap at which a run publishes collection/budget.warned.';
COMMENT ON COLUMN collection.collection_settings.max_concurrent_runs IS 'Most running runs at once; others wait.';
CREATE OR REPLACE TRIGGER collection_settings_updated_at BEFORE UPDATE ON collection.collection_settings
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

CREATE TABLE IF NOT EXISTS collection.places (
    org_id uuid PRIMARY KEY REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    id uuid NOT NULL GENERATED ALWAYS AS (org_id) STORED
);
COMMENT ON COLUMN collection.places.id IS 'Equals org_id. The engine finds rows that are locked by their column id.';
COMMENT ON TABLE collection.places IS
    'One row an organisation, locked while its runs are started, so that concurrent starts cannot exceed max_concurrent_runs.';

CREATE TABLE IF NOT EXISTS collection.marketplace_accounts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    marketplace text NOT NULL CHECK (marketplace <> ''),
    api_key text,
    base_url text,
    is_enabled boolean NOT NULL DEFAULT false,
    max_calls integer NOT NULL DEFAULT 8 CHECK (max_calls BETWEEN 1 AND 100),
    has_key boolean NOT NULL GENERATED ALWAYS AS (api_key IS NOT NULL) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT marketplace_accounts_org_id_marketplace_key UNIQUE (org_id, marketplace),
    CONSTRAINT marketplace_accounts_key_sealed CHECK (api_key LIKE 'sealed:%')
);
COMMENT ON TABLE collection.marketplace_accounts IS 'An organisation''s account with one marketplace''s paid API.';
COMMENT ON COLUMN collection.marketplace_accounts.api_key IS 'Sealed by the application (AES-GCM); never the plain key.';
COMMENT ON COLUMN collection.marketplace_accounts.has_key IS 'For roles that may not read the key, which is sealed.';
COMMENT ON COLUMN collection.marketplace_accounts.base_url IS
    'Address of the API. Only operators set it, because workers call it.';
COMMENT ON COLUMN collection.marketplace_accounts.max_calls IS 'Most concurrent calls of this account, over all workers.';
CREATE OR REPLACE TRIGGER marketplace_accounts_updated_at BEFORE UPDATE ON collection.marketplace_accounts
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- Runs --------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS collection.collection_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (name <> ''),
    marketplace text NOT NULL CHECK (marketplace <> ''),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    estimated_cost_cents integer NOT NULL CHECK (estimated_cost_cents >= 0),
    actual_cost_cents integer NOT NULL DEFAULT 0 CHECK (actual_cost_cents >= 0),
    reserved_cost_cents integer NOT NULL DEFAULT 0 CHECK (reserved_cost_cents >= 0),
    overrun_cents integer NOT NULL DEFAULT 0 CHECK (overrun_cents >= 0),
    budget_cap_cents integer NOT NULL CHECK (budget_cap_cents >= 0),
    cap_override_cents integer CHECK (cap_override_cents >= 0),
    total_items integer NOT NULL DEFAULT 0,
    processed_items integer NOT NULL DEFAULT 0,
    failed_items integer NOT NULL DEFAULT 0,
    checkpoint jsonb NOT NULL DEFAULT '{}',
    category_ids text[] NOT NULL CHECK (cardinality(category_ids) > 0),
    estimate jsonb NOT NULL DEFAULT '{}',
    unwanted text[] NOT NULL DEFAULT '{}',
    pause_reason text CHECK (pause_reason IN ('user', 'budget', 'overrun', 'credentials', 'place')),
    error_code text,
    error_message text,
    changed_by text,
    idempotency_key text,
    request_fingerprint text,
    warned_at timestamptz,
    started_at timestamptz,
    paused_at timestamptz,
    completed_at timestamptz,
    created_by uuid NOT NULL REFERENCES auth.users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT collection_runs_org_id_id_key UNIQUE (org_id, id),
    CONSTRAINT collection_runs_org_id_idempotency_key_key UNIQUE (org_id, idempotency_key),
    CONSTRAINT collection_runs_within_cap CHECK (actual_cost_cents + reserved_cost_cents <= budget_cap_cents),
    CONSTRAINT collection_runs_counts CHECK (
        total_items >= 0 AND processed_items >= 0 AND failed_items >= 0
        AND processed_items + failed_items <= total_items),
    CONSTRAINT collection_runs_paused CHECK (
        (status = 'paused') = (paused_at IS NOT NULL) AND (status = 'paused') = (pause_reason IS NOT NULL)),
    CONSTRAINT collection_runs_ended CHECK (
        (status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)),
    CONSTRAINT collection_runs_started CHECK (
        CASE WHEN status = 'pending' THEN started_at IS NULL
             WHEN status = 'cancelled' THEN true ELSE started_at IS NOT NULL END)
);
CREATE INDEX IF NOT EXISTS collection_runs_org_id_created_at_idx ON collection.collection_runs (org_id, created_at, id);
CREATE INDEX IF NOT EXISTS collection_runs_status_idx ON collection.collection_runs (status);
CREATE INDEX IF NOT EXISTS collection_runs_created_at_idx ON collection.collection_runs (created_at);
CREATE INDEX IF NOT EXISTS collection_runs_created_by_idx ON collection.collection_runs (created_by);
CREATE INDEX IF NOT EXISTS collection_runs_open_idx ON collection.collection_runs (org_id, created_at, id)
    WHERE status IN ('pending', 'running', 'paused');
COMMENT ON TABLE collection.collection_runs IS
    'One collection run. What it spent and reserved never exceeds its cap; the counters equal its items at every commit.';
COMMENT ON COLUMN collection.collection_runs.budget_cap_cents IS
    'The cap in cents: a snapshot at the start, of the run''s own cap or else of the organisation''s.';
COMMENT ON COLUMN collection.collection_runs.cap_override_cents IS
    'The run''s own cap, given when it was created. The organisation''s settings do not change it.';
COMMENT ON COLUMN collection.collection_runs.reserved_cost_cents IS
    'Cents reserved for pages whose calls have begun and are not settled.';
COMMENT ON COLUMN collection.collection_runs.overrun_cents IS
    'Cents that were charged and do not fit the cap. The marketplace charged actual_cost_cents + overrun_cents.';
COMMENT ON COLUMN collection.collection_runs.estimate IS
    'By category: {"pages": expected pages, "price_cents": price of one page}.';
COMMENT ON COLUMN collection.collection_runs.checkpoint IS
    'By category: {"cursor": the next page''s, or null, "pages": settled pages, "done": whether the last one is settled}.';
COMMENT ON COLUMN collection.collection_runs.unwanted IS 'Ids of items and names of sellers that are skipped.';
COMMENT ON COLUMN collection.collection_runs.pause_reason IS
    'user: by a person. budget: the next page does not fit the cap. overrun: a charge did not fit the cap.'
    ' credentials: the marketplace refuses the API key. place: it continues by itself when fewer runs are running.';
COMMENT ON COLUMN collection.collection_runs.changed_by IS 'Who paused, resumed or cancelled the run last.';
COMMENT ON COLUMN collection.collection_runs.request_fingerprint IS
    'SHA-256 of the request, which distinguishes a repeated request from another one with the same key.';

CREATE OR REPLACE TRIGGER collection_runs_updated_at BEFORE UPDATE ON collection.collection_runs
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER collection_runs_progress_insert AFTER INSERT ON collection.collection_runs
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION engine.notify_progress();
CREATE OR REPLACE TRIGGER collection_runs_progress_update AFTER UPDATE ON collection.collection_runs
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION engine.notify_progress();

-- The allowed transitions. `app.collection.rules.TRANSITIONS` gives the same table with its messages; this trigger
-- holds for statements of any program.
CREATE OR REPLACE FUNCTION collection.check_transition() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('pending', 'running'), ('pending', 'cancelled'),
        ('running', 'paused'), ('running', 'completed'), ('running', 'failed'), ('running', 'cancelled'),
        ('paused', 'running'), ('paused', 'cancelled')) THEN
        RAISE EXCEPTION 'a run that is % cannot become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION collection.check_transition() IS 'A row trigger that refuses a status transition that is not allowed.';
REVOKE ALL ON FUNCTION collection.check_transition() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION collection.check_transition() TO service_role;
CREATE OR REPLACE TRIGGER collection_runs_transition BEFORE UPDATE OF status ON collection.collection_runs
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION collection.check_transition();

-- Pages -------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS collection.collection_pages (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL,
    run_id uuid NOT NULL,
    category_id text NOT NULL CHECK (category_id <> ''),
    cursor text NOT NULL DEFAULT '',
    number integer NOT NULL CHECK (number >= 1),
    external_ids text[] CHECK (cardinality(external_ids) > 0),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    price_cents integer NOT NULL CHECK (price_cents >= 0),
    reserved_cents integer NOT NULL DEFAULT 0 CHECK (reserved_cents >= 0),
    cost_cents integer NOT NULL DEFAULT 0 CHECK (cost_cents >= 0),
    next_cursor text,
    error_code text,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT collection_pages_org_id_id_key UNIQUE (org_id, id),
    CONSTRAINT collection_pages_org_id_run_id_fkey FOREIGN KEY (org_id, run_id)
        REFERENCES collection.collection_runs (org_id, id) ON DELETE CASCADE,
    CONSTRAINT collection_pages_reserved CHECK (reserved_cents = 0 OR status = 'processing'),
    CONSTRAINT collection_pages_ended CHECK (
        (status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS collection_pages_org_id_run_id_idx ON collection.collection_pages (org_id, run_id);
CREATE UNIQUE INDEX IF NOT EXISTS collection_pages_run_id_category_id_cursor_key
    ON collection.collection_pages (run_id, category_id, cursor) WHERE external_ids IS NULL;
CREATE INDEX IF NOT EXISTS collection_pages_open_idx ON collection.collection_pages (run_id, id)
    WHERE status IN ('pending', 'processing');
COMMENT ON TABLE collection.collection_pages IS
    'One page that a run asks for. Its id is the reference by which the marketplace charges it once.';
COMMENT ON COLUMN collection.collection_pages.cursor IS 'Where the page begins; empty: the category''s first page.';
COMMENT ON COLUMN collection.collection_pages.external_ids IS
    'The items that are asked for again, one by one; null: a page of the category.';
COMMENT ON COLUMN collection.collection_pages.attempt IS
    'How often the page was requested again. A request with another attempt is late and changes nothing.';
COMMENT ON COLUMN collection.collection_pages.price_cents IS 'The expected price, which is reserved before the call.';
COMMENT ON COLUMN collection.collection_pages.cost_cents IS 'What the marketplace charged.';

-- Items -------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS collection.collection_items (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL,
    run_id uuid NOT NULL,
    page_id uuid NOT NULL,
    marketplace text NOT NULL CHECK (marketplace <> ''),
    item_type text NOT NULL CHECK (item_type IN ('amazon_product', 'ebay_seller')),
    external_id text NOT NULL CHECK (external_id <> ''),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'skipped')),
    data jsonb,
    error_code text,
    error_message text,
    cost_cents integer NOT NULL DEFAULT 0 CHECK (cost_cents >= 0),
    attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    completed_at timestamptz,
    CONSTRAINT collection_items_org_id_id_key UNIQUE (org_id, id),
    CONSTRAINT collection_items_identity UNIQUE (run_id, marketplace, item_type, external_id),
    CONSTRAINT collection_items_org_id_run_id_fkey FOREIGN KEY (org_id, run_id)
        REFERENCES collection.collection_runs (org_id, id) ON DELETE CASCADE,
    CONSTRAINT collection_items_org_id_page_id_fkey FOREIGN KEY (org_id, page_id)
        REFERENCES collection.collection_pages (org_id, id) ON DELETE CASCADE,
    CONSTRAINT collection_items_ended CHECK (
        (status IN ('completed', 'failed', 'skipped')) = (completed_at IS NOT NULL)),
    CONSTRAINT collection_items_reason CHECK ((status IN ('failed', 'skipped')) <= (error_code IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS collection_items_org_id_run_id_idx ON collection.collection_items (org_id, run_id, id);
CREATE INDEX IF NOT EXISTS collection_items_org_id_page_id_idx ON collection.collection_items (org_id, page_id);
CREATE INDEX IF NOT EXISTS collection_items_status_idx ON collection.collection_items (status);
CREATE INDEX IF NOT EXISTS collection_items_item_type_idx ON collection.collection_items (item_type);
COMMENT ON TABLE collection.collection_items IS
    'One product or seller that a run found. One external id may exist in several marketplaces, with different prices.';
COMMENT ON COLUMN collection.collection_items.external_id IS 'The marketplace''s own id: an ASIN, or a seller''s id.';
COMMENT ON COLUMN collection.collection_items.page_id IS 'The page on which the run found the item first.';
COMMENT ON COLUMN collection.collection_items.cost_cents IS
    'The item''s part of its page''s cost. The parts of a page''s items add up to the page''s cost.';
COMMENT ON COLUMN collection.collection_items.attempt IS 'How often the item was asked for again after a failure.';
COMMENT ON COLUMN collection.collection_items.error_code IS 'Why the item failed or was skipped.';

-- Policies, then grants ---------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'collection_settings', 'places', 'marketplace_accounts', 'collection_runs', 'collection_pages', 'collection_items'
    ] LOOP
        EXECUTE format('ALTER TABLE collection.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE collection.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY %I ON collection.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON collection.%I TO service_role', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY[
        'collection_settings', 'marketplace_accounts', 'collection_runs', 'collection_pages', 'collection_items'
    ] LOOP
        EXECUTE format('CREATE POLICY %I ON collection.%I FOR SELECT TO authenticated USING (tenancy.is_org_member(org_id))',
                       table_name || '_member_select', table_name);
    END LOOP;
    FOREACH table_name IN ARRAY ARRAY['collection_settings', 'collection_runs', 'collection_pages', 'collection_items'] LOOP
        EXECUTE format('GRANT SELECT ON collection.%I TO authenticated', table_name);
    END LOOP;
END $$;

-- A person sets nothing directly: a cap that changes must pause or wake runs in the same commit.
GRANT SELECT (id, org_id, marketplace, base_url, is_enabled, max_calls, has_key, created_at, updated_at)
    ON collection.marketplace_accounts TO authenticated;
