-- Sellers -----------------------------------------------------------------------------------------
-- The sellers that an organisation's collection runs have found, once each: by normalised name and
-- platform. Merged sellers keep their rows, so that a merge can be undone.

CREATE TABLE IF NOT EXISTS collection.sellers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    display_name text NOT NULL CHECK (display_name <> ''),
    normalized_name text NOT NULL CHECK (normalized_name <> ''),
    platform text NOT NULL CHECK (platform IN ('ebay')),
    platform_id text,
    first_seen_run_id uuid,
    last_seen_run_id uuid,
    times_seen integer NOT NULL DEFAULT 1 CHECK (times_seen >= 0),
    feedback_score integer,
    item_count integer,
    merged_into_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sellers_unique_normalized UNIQUE (org_id, normalized_name, platform),
    CONSTRAINT sellers_org_id_id_key UNIQUE (org_id, id),
    CONSTRAINT sellers_not_merged_into_itself CHECK (merged_into_id <> id),
    CONSTRAINT sellers_first_seen_run_id_fkey FOREIGN KEY (org_id, first_seen_run_id)
        REFERENCES collection.collection_runs (org_id, id) ON DELETE SET NULL (first_seen_run_id),
    CONSTRAINT sellers_last_seen_run_id_fkey FOREIGN KEY (org_id, last_seen_run_id)
        REFERENCES collection.collection_runs (org_id, id) ON DELETE SET NULL (last_seen_run_id),
    CONSTRAINT sellers_merged_into_id_fkey FOREIGN KEY (org_id, merged_into_id)
        REFERENCES collection.sellers (org_id, id) ON DELETE SET NULL (merged_into_id)
);
CREATE INDEX IF NOT EXISTS sellers_normalized_name_idx ON collection.sellers (normalized_name);
CREATE INDEX IF NOT EXISTS sellers_first_seen_run_id_idx ON collection.sellers (org_id, first_seen_run_id);
CREATE INDEX IF NOT EXISTS sellers_last_seen_run_id_idx ON collection.sellers (org_id, last_seen_run_id);
CREATE INDEX IF NOT EXISTS sellers_merged_into_id_idx ON collection.sellers (org_id, merged_into_id);
COMMENT ON TABLE collection.sellers IS 'One seller of an organisation''s runs, by normalised name and platform.';
COMMENT ON COLUMN collection.sellers.normalized_name IS
    'The name as it is compared: app.collection.normalise. The slug of a shop begins with "shop:".';
COMMENT ON COLUMN collection.sellers.times_seen IS 'In how many runs the seller was found, under any of its merged names.';
COMMENT ON COLUMN collection.sellers.merged_into_id IS
    'The seller that this one was merged into; null: it stands for itself. A merged seller is not listed.';
CREATE OR REPLACE TRIGGER sellers_updated_at BEFORE UPDATE ON collection.sellers
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

CREATE TABLE IF NOT EXISTS collection.seller_runs (
    org_id uuid NOT NULL,
    seller_id uuid NOT NULL,
    run_id uuid NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT seller_runs_pkey PRIMARY KEY (org_id, seller_id, run_id),
    CONSTRAINT seller_runs_org_id_seller_id_fkey FOREIGN KEY (org_id, seller_id)
        REFERENCES collection.sellers (org_id, id) ON DELETE CASCADE,
    CONSTRAINT seller_runs_org_id_run_id_fkey FOREIGN KEY (org_id, run_id)
        REFERENCES collection.collection_runs (org_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS seller_runs_org_id_run_id_idx ON collection.seller_runs (org_id, run_id);
COMMENT ON TABLE collection.seller_runs IS
    'In which runs a seller was found under its own name: once a run, on however many pages it is.';

CREATE TABLE IF NOT EXISTS collection.seller_merges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL,
    kept_id uuid NOT NULL,
    merged_id uuid NOT NULL,
    moved_ids uuid[] NOT NULL,
    merged_by text NOT NULL CHECK (merged_by <> ''),
    reason text,
    merged_at timestamptz NOT NULL DEFAULT now(),
    undone_by text,
    undone_at timestamptz,
    CONSTRAINT seller_merges_org_id_id_key UNIQUE (org_id, id),
    CONSTRAINT seller_merges_org_id_kept_id_fkey FOREIGN KEY (org_id, kept_id)
        REFERENCES collection.sellers (org_id, id) ON DELETE CASCADE,
    CONSTRAINT seller_merges_org_id_merged_id_fkey FOREIGN KEY (org_id, merged_id)
        REFERENCES collection.sellers (org_id, id) ON DELETE CASCADE,
    CONSTRAINT seller_merges_undone CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
CREATE INDEX IF NOT EXISTS seller_merges_org_id_kept_id_idx ON collection.seller_merges (org_id, kept_id);
CREATE INDEX IF NOT EXISTS seller_merges_org_id_merged_id_idx ON collection.seller_merges (org_id, merged_id);
CREATE UNIQUE INDEX IF NOT EXISTS seller_merges_open_key ON collection.seller_merges (merged_id) WHERE undone_at IS NULL;
COMMENT ON TABLE collection.seller_merges IS 'Who merged which sellers, when and why, and whether it was undone.';
COMMENT ON COLUMN collection.seller_merges.moved_ids IS
    'The merged seller and those that had been merged into it before: what an undo moves back.';

-- Policies, then grants ---------------------------------------------------------------------------

DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['sellers', 'seller_runs', 'seller_merges'] LOOP
        EXECUTE format('ALTER TABLE collection.%I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE collection.%I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format('CREATE POLICY %I ON collection.%I TO service_role USING (true) WITH CHECK (true)',
                       table_name || '_service', table_name);
        EXECUTE format('CREATE POLICY %I ON collection.%I FOR SELECT TO authenticated USING (tenancy.is_org_member(org_id))',
                       table_name || '_member_select', table_name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON collection.%I TO service_role', table_name);
        EXECUTE format('GRANT SELECT ON collection.%I TO authenticated', table_name);
    END LOOP;
END $$;
