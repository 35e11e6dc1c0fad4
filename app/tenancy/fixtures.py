"""Tenancy's fixtures: organisations, workspaces and their members."""

from __future__ import annotations

from app.fixtures import Fixtures, Isolation, Rows

_SEED = """
INSERT INTO auth.users (id) VALUES ('{t}1'), ('{t}2'), ('{t}3');
INSERT INTO tenancy.orgs (id, name) VALUES ('{t}1', 'org');
INSERT INTO tenancy.org_members VALUES ('{t}1', '{t}1', 'admin'), ('{t}1', '{t}2', 'member');
INSERT INTO tenancy.workspaces (id, org_id, name) VALUES ('{t}1', '{t}1', 'workspace');
INSERT INTO tenancy.workspace_members VALUES ('{t}1', '{t}1', 'admin'), ('{t}1', '{t}2', 'member');
"""

_TABLES = {
    "tenancy.orgs": Rows("(id, name) VALUES ('{t}9', 'new')", "id = '{t}1'", "name"),
    "tenancy.org_members": Rows("(org_id, user_id) VALUES ('{t}1', '{t}3')", "org_id = '{t}1'", "role"),
    "tenancy.workspaces": Rows("(org_id, name) VALUES ('{t}1', 'new')", "id = '{t}1'", "name"),
    "tenancy.workspace_members": Rows(
        "(workspace_id, user_id) VALUES ('{t}1', '{t}3')", "workspace_id = '{t}1'", "role"
    ),
}

_EXPECTED = """
                             verb    service  admin  member  nonmember no_user visitor
tenancy.orgs                 select  1/1      1/0    1/0     0/0       0/0     -/-
tenancy.orgs                 insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.orgs                 update  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.orgs                 delete  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.org_members          select  2/2      2/0    2/0     0/0       0/0     -/-
tenancy.org_members          insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.org_members          update  2/2      -/-    -/-     -/-       -/-     -/-
tenancy.org_members          delete  2/2      -/-    -/-     -/-       -/-     -/-
tenancy.workspaces           select  1/1      1/0    1/0     0/0       0/0     -/-
tenancy.workspaces           insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspaces           update  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspaces           delete  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspace_members    select  2/2      2/0    2/0     0/0       0/0     -/-
tenancy.workspace_members    insert  1/1      -/-    -/-     -/-       -/-     -/-
tenancy.workspace_members    update  2/2      -/-    -/-     -/-       -/-     -/-
tenancy.workspace_members    delete  2/2      -/-    -/-     -/-       -/-     -/-
"""

FIXTURES = Fixtures(isolation=Isolation(seed=_SEED, tables=_TABLES, expected=_EXPECTED))
