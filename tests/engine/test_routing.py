"""Routes of events: queue, priority, batch size, share."""

from __future__ import annotations

from uuid import UUID

from app.engine import routing


def test_a_share_is_named_by_tenant_and_account() -> None:
    """A tenant without accounts is one share. Events without a tenant share one."""
    tenant = UUID(int=1)
    assert routing.share_name(tenant, "x") == f"{tenant}/x"
    assert routing.share_name(tenant) == routing.share_name(tenant, "") == str(tenant)
    assert routing.share_name(None, "x") == "-/x"
    assert routing.share_name(None) == routing.NOBODY


def test_the_tenant_is_read_from_the_share() -> None:
    """Also if the account's name has a slash."""
    assert routing.tenant_of(routing.share_name("t", "a/b")) == "t"
    assert routing.tenant_of(routing.share_name("t")) == "t"


def test_the_name_of_a_share_is_bounded() -> None:
    """It is the key of an index: a long account name must not make an insertion fail. Such accounts share a prefix."""
    assert len(routing.share_name("t", "x" * 5000)) < 160
    assert routing.share_name("t", "x" * 5000) == routing.share_name("t", "x" * 200 + "y")
    assert routing.share_name("t", "x" * 99 + "a") != routing.share_name("t", "x" * 99 + "b")


def test_events_come_before_effects() -> None:
    """A worker that serves both fetches the higher priority first."""
    assert routing.EVENTS_PRIORITY > routing.EFFECTS_PRIORITY
