-- Secrets of callbacks ----------------------------------------------------------------------------
-- The secrets with which external robot services sign the results that they post for a workspace.
-- A workspace has at most two: the old and the new one, while one replaces the other.

CREATE TABLE IF NOT EXISTS logistics.callback_secrets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces (id) ON DELETE CASCADE,
    slot integer NOT NULL CHECK (slot IN (1, 2)),
    secret text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT callback_secrets_workspace_id_slot_key UNIQUE (workspace_id, slot),
    CONSTRAINT callback_secrets_workspace_id_id_key UNIQUE (workspace_id, id),
    CONSTRAINT callback_secrets_sealed CHECK (secret LIKE 'sealed:%')
);
COMMENT ON TABLE logistics.callback_secrets IS
    'Secrets that sign the results which an external robot service posts for a workspace (Standard Webhooks).';
COMMENT ON COLUMN logistics.callback_secrets.slot IS 'Limits a workspace to two secrets: one, and its replacement.';
COMMENT ON COLUMN logistics.callback_secrets.secret IS 'Sealed by the application (AES-GCM); never the plain secret.';

ALTER TABLE logistics.callback_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE logistics.callback_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY callback_secrets_service ON logistics.callback_secrets TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON logistics.callback_secrets TO service_role;
