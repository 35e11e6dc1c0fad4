"""Secrets of endpoints: one signs, or two during a rotation."""

from __future__ import annotations

import pytest

from app import standard_webhooks
from app.engine.queue.publish import publish
from app.errors import Conflict, InvalidInput
from app.testing.deliver import deliver
from app.webhooks import keys
from app.webhooks.fixtures.hooked import Hooked

_LATER = "UPDATE webhooks.secrets SET expires_at = expires_at - interval '25 hours'"


def test_both_secrets_sign_during_a_rotation(hooked: Hooked) -> None:
    """A receiver that knows only the former one accepts, and one that knows only the new one as well."""
    endpoint = hooked.add()
    rotated = keys.rotate(hooked.context, endpoint.id, actor="ana")
    former = hooked.receiver.behaviour.secrets
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    hooked.receiver.change(secrets=[rotated.secret.get_secret_value()])
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    hooked.connection.execute(_LATER)
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    hooked.receiver.change(secrets=former)
    publish(hooked.connection, hooked.event())
    deliver(hooked.connection)
    found = [(one.is_verified, len(one.signature.split(" "))) for one in hooked.receiver.received]
    assert found == [(True, 2), (True, 2), (True, 1), (False, 1)]
    assert rotated.former_until is not None


def test_a_leaked_secret_ends_at_once(hooked: Hooked) -> None:
    """With it the former one, if there is one."""
    endpoint = hooked.add()
    keys.rotate(hooked.context, endpoint.id, actor="ana")
    done = keys.rotate(hooked.context, endpoint.id, actor="ana", hours=0)
    assert done.former_until is None
    (only,) = keys.active(hooked.connection, hooked.tenant_id, endpoint.id)
    assert keys.unseal(only) == standard_webhooks.key(done.secret)


def test_a_rotation_waits_for_the_one_before(hooked: Hooked) -> None:
    """Else a receiver with the first secret would refuse every request."""
    endpoint = hooked.add()
    keys.rotate(hooked.context, endpoint.id, actor="ana", hours=1)
    with pytest.raises(Conflict, match=r"its former secret signs until .* --hours 0"):
        keys.rotate(hooked.context, endpoint.id, actor="ana")
    hooked.connection.execute(_LATER)
    assert keys.rotate(hooked.context, endpoint.id, actor="ana").former_until is not None


@pytest.mark.parametrize("hours", [-1, 721, float("nan")])
def test_hours_are_checked(hooked: Hooked, hours: float) -> None:
    """0 to 30 days."""
    endpoint = hooked.add()
    with pytest.raises(InvalidInput, match="hours: must be 0 to 720"):
        keys.rotate(hooked.context, endpoint.id, actor="ana", hours=hours)
