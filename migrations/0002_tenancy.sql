-- Tenancy ----------------------------------------------------------------------------------------
-- Organisations, their workspaces and who belongs to them. A workspace is the tenant of the robot
-- jobs; an organisation is the tenant of collection runs.

CREATE SCHEMA IF NOT EXISTS tenancy;
GRANT USAGE ON SCHEMA tenancy TO anon, authenticated, service_role;

CREATE TABLE IF NOT EXISTS tenancy.orgs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS tenancy.org_members (
    org_id uuid NOT NULL REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    role text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')),
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX IF NOT EXISTS org_members_user_id_idx ON tenancy.org_members (user_id);

CREATE TABLE IF NOT EXISTS tenancy.workspaces (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES tenancy.orgs (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (name <> ''),
    timezone text NOT NULL DEFAULT 'America/Bogota',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS workspaces_org_id_idx ON tenancy.workspaces (org_id);
COMMENT ON COLUMN tenancy.workspaces.timezone IS 'An IANA name. Times are stored as instants and shown in it.';

CREATE TABLE IF NOT EXISTS tenancy.workspace_members (
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    role text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'admin')),
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX IF NOT EXISTS workspace_members_user_id_idx ON tenancy.workspace_members (user_id);

COMMENT ON TABLE tenancy.orgs IS 'Organisations: who pays.';
COMMENT ON TABLE tenancy.org_members IS 'Which person belongs to which organisation, and whether as its admin.';
COMMENT ON TABLE tenancy.workspaces IS 'Workspaces: where orders, carriers and robot jobs live; the tenant of logistics.';
COMMENT ON TABLE tenancy.workspace_members IS 'Which person belongs to which workspace, and whether as its admin.';

-- Membership -------------------------------------------------------------------------------------
-- SECURITY DEFINER, because a policy on a members table that read that same table as the caller
-- would call itself for ever. They answer for auth.uid() alone, so they tell nobody about others.

CREATE OR REPLACE FUNCTION tenancy.is_workspace_member(p_workspace_id uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM tenancy.workspace_members m
                   WHERE m.workspace_id = p_workspace_id AND m.user_id = auth.uid())
$$;

CREATE OR REPLACE FUNCTION tenancy.is_workspace_admin(p_workspace_id uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM tenancy.workspace_members m
                   WHERE m.workspace_id = p_workspace_id AND m.user_id = auth.uid() AND m.role = 'admin')
$$;

CREATE OR REPLACE FUNCTION tenancy.is_org_member(p_org_id uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM tenancy.org_members m
                   WHERE m.org_id = p_org_id AND m.user_id = auth.uid())
$$;

CREATE OR REPLACE FUNCTION tenancy.is_org_admin(p_org_id uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM tenancy.org_members m
                   WHERE m.org_id = p_org_id AND m.user_id = auth.uid() AND m.role = 'admin')
$$;

COMMENT ON FUNCTION tenancy.is_workspace_member(uuid) IS 'Does the person of this request belong to the workspace?';
COMMENT ON FUNCTION tenancy.is_workspace_admin(uuid) IS 'Is the person of this request an admin of the workspace?';
COMMENT ON FUNCTION tenancy.is_org_member(uuid) IS 'Does the person of this request belong to the organisation?';
COMMENT ON FUNCTION tenancy.is_org_admin(uuid) IS 'Is the person of this request an admin of the organisation?';

REVOKE ALL ON FUNCTION tenancy.is_workspace_member(uuid), tenancy.is_workspace_admin(uuid),
    tenancy.is_org_member(uuid), tenancy.is_org_admin(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenancy.is_workspace_member(uuid), tenancy.is_workspace_admin(uuid),
    tenancy.is_org_member(uuid), tenancy.is_org_admin(uuid) TO authenticated, service_role;

-- Policies ---------------------------------------------------------------------------------------

ALTER TABLE tenancy.orgs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.orgs FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.org_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.org_members FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.workspaces FORCE ROW LEVEL SECURITY;
ALTER TABLE tenancy.workspace_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenancy.workspace_members FORCE ROW LEVEL SECURITY;

CREATE POLICY orgs_service ON tenancy.orgs TO service_role USING (true) WITH CHECK (true);
CREATE POLICY orgs_member_select ON tenancy.orgs FOR SELECT TO authenticated USING (tenancy.is_org_member(id));
CREATE POLICY org_members_service ON tenancy.org_members TO service_role USING (true) WITH CHECK (true);
CREATE POLICY org_members_member_select ON tenancy.org_members FOR SELECT TO authenticated
    USING (tenancy.is_org_member(org_id));
CREATE POLICY workspaces_service ON tenancy.workspaces TO service_role USING (true) WITH CHECK (true);
CREATE POLICY workspaces_member_select ON tenancy.workspaces FOR SELECT TO authenticated
    USING (tenancy.is_workspace_member(id));
CREATE POLICY workspace_members_service ON tenancy.workspace_members TO service_role USING (true) WITH CHECK (true);
CREATE POLICY workspace_members_member_select ON tenancy.workspace_members FOR SELECT TO authenticated
    USING (tenancy.is_workspace_member(workspace_id));

-- The functions above read the members tables as the tables' owner, to whom forced policies apply too.
CREATE POLICY org_members_definer ON tenancy.org_members FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY workspace_members_definer ON tenancy.workspace_members FOR SELECT TO CURRENT_USER USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON tenancy.orgs, tenancy.org_members, tenancy.workspaces,
    tenancy.workspace_members TO service_role;
GRANT SELECT ON tenancy.orgs, tenancy.org_members, tenancy.workspaces, tenancy.workspace_members TO authenticated;
