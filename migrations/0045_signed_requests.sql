-- Signed requests ---------------------------------------------------------------------------------
-- Secrets of requests that others sign: results of robot services, and messages of Twilio.

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

-- Endpoints of Twilio -----------------------------------------------------------------------------
-- The URLs that Twilio posts messages to, each with its account and the auth tokens that sign its
-- requests. Messages have no tenant, so these have none.

CREATE TABLE IF NOT EXISTS messaging.endpoints (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    token_hash bytea NOT NULL CHECK (octet_length(token_hash) = 32),
    account_sid text NOT NULL CHECK (account_sid ~ '^AC[0-9a-f]{32}$'),
    auth_token text NOT NULL,
    previous_auth_token text,
    is_enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT endpoints_token_hash_key UNIQUE (token_hash),
    CONSTRAINT endpoints_sealed CHECK (auth_token LIKE 'sealed:%' AND previous_auth_token LIKE 'sealed:%')
);
COMMENT ON TABLE messaging.endpoints IS 'A URL that Twilio posts messages to. Its last part is a token.';
COMMENT ON COLUMN messaging.endpoints.token_hash IS 'SHA-256 of the token. The token itself is not stored.';
COMMENT ON COLUMN messaging.endpoints.auth_token IS 'Sealed by the application (AES-GCM); never the plain token.';
COMMENT ON COLUMN messaging.endpoints.previous_auth_token IS
    'Still accepted while Twilio changes from one auth token to the other. Sealed as well.';

CREATE OR REPLACE TRIGGER endpoints_updated_at BEFORE UPDATE ON messaging.endpoints
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

ALTER TABLE messaging.endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE messaging.endpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY endpoints_service ON messaging.endpoints TO service_role USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON messaging.endpoints TO service_role;
