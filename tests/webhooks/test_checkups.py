"""Checkups of webhooks: what `doctor` finds of endpoints and secrets."""

from __future__ import annotations

import base64

import pytest

from app.settings import settings, using
from app.webhooks import endpoints
from app.webhooks.fixtures.hooked import Hooked
from tests.helpers.health_fixtures import of
from tests.helpers.hooks import send


def test_doctor_reports_endpoints_that_need_a_person(hooked: Hooked) -> None:
    """Disabled by the program, or failing for an hour. Not those that an admin disabled."""
    ok = [("ok", "no endpoint is failing, and none was disabled by the program")]
    gone = hooked.add("/gone", then="answer", status=410)
    failing, off = hooked.add("/failing", then="answer"), hooked.add("/off")
    endpoints.disable_endpoint(hooked.context, off.id, actor="ana")
    assert of("webhooks") == ok
    send(hooked)
    ((level, what),) = of("webhooks")
    assert (level, f"endpoint {gone.id} is disabled since" in what, "1 dead deliveries" in what) == ("info", True, True)
    hooked.connection.execute("UPDATE webhooks.endpoints SET failing_since = failing_since - interval '2 hours'")
    found = dict(of("webhooks"))
    assert set(found) == {"info", "warning"}
    assert f"endpoint {failing.id} has been failing since" in found["warning"]
    with using(webhook_networks="nowhere"):
        assert ("problem", True) in [(level, "TALLYMAN_WEBHOOK_NETWORKS" in what) for level, what in of("webhooks")]


def test_doctor_reports_secrets_that_do_not_open(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another sealing key. The endpoint is named."""
    endpoint = hooked.add()
    assert of("webhook secrets") == [("ok", "every enabled endpoint has secrets that can be decrypted")]
    monkeypatch.setenv("TALLYMAN_KEYS", "other:" + base64.b64encode(bytes(32)).decode())
    settings.cache_clear()
    ((level, what),) = of("webhook secrets")
    assert (level, str(endpoint.id) in what) == ("problem", True)
