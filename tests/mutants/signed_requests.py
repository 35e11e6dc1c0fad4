"""Mutants of the doors for signed requests: Twilio's messages and the results of robot services."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_READING = "app/web/webhooks/twilio_reading.py"
_SIGNATURE, _TEST_SIGNATURE = "app/web/webhooks/twilio_signature.py", "tests/web/webhooks/test_twilio_signature.py"
_FORM = "app/web/webhooks/form.py"
_DOOR, _INTAKE = "app/web/webhooks/twilio.py", "app/web/webhooks/twilio_intake.py"
_TEST_DOOR = "tests/web/webhooks/test_twilio.py"
_GATHERING, _TEST_GATHERING = "app/web/webhooks/gathering.py", "tests/web/webhooks/test_gathering.py"
_STANDARD, _TEST_STANDARD = "app/standard_webhooks.py", "tests/test_standard_webhooks.py"
_CALLBACKS, _TEST_CALLBACKS = "app/logistics/callbacks.py", "tests/web/test_callbacks.py"
_SECRETS, _TEST_SECRETS = "app/logistics/callback_secrets.py", "tests/logistics/test_callback_secrets.py"
_ENDPOINTS, _TEST_ENDPOINTS = "app/messaging/endpoints.py", "tests/messaging/test_endpoints.py"

MUTANTS = (
    Mutant(
        _READING,
        "if name < other < next_name and _allows(name, head) and _allows(other, tail):",
        "if False:",
        _TEST_SIGNATURE,
        "a field that a text has swallowed is not accepted",
    ),
    Mutant(
        _READING,
        "(known.repeats or name not in fields)",
        "name not in fields",
        _TEST_SIGNATURE,
        "the name of a repeated field is not cut",
    ),
    Mutant(
        _READING,
        'if pairs[0][0] != "AccountSid":',
        "if False:",
        _TEST_SIGNATURE,
        "text cannot move from the URL into a field",
    ),
    Mutant(
        _SIGNATURE,
        'if fields.get("AccountSid") != (account.account_sid,):',
        "if False:",
        _TEST_SIGNATURE,
        "an endpoint accepts messages of its own account",
    ),
    Mutant(
        _SIGNATURE,
        "    fields = read_form(posted.content_type, posted.body)\n",
        '    fields = read_form("application/x-www-form-urlencoded", posted.body)\n',
        _TEST_SIGNATURE,
        "the type of the content is checked",
    ),
    Mutant(
        _FORM,
        "if not body or not _ENCODED.fullmatch(body):",
        "if not body:",
        _TEST_SIGNATURE,
        "bytes that are not form-encoded are refused",
    ),
    Mutant(
        _DOOR,
        'url=_public_url() + target.decode("latin-1"),',
        "url=str(request.url),",
        _TEST_DOOR,
        "the signature covers the public URL",
    ),
    Mutant(
        _INTAKE,
        "        except _AWAY:\n            raise\n",
        "",
        _TEST_DOOR,
        "a message that the database has not stored is not confirmed",
    ),
    Mutant(
        _INTAKE,
        "            await self.keep(fields, error)\n",
        "            pass\n",
        _TEST_DOOR,
        "a message that cannot be handled is a dead letter",
    ),
    Mutant(
        _GATHERING,
        "                if self._is_final(error):\n",
        "                if True:\n",
        _TEST_GATHERING,
        "a value that fails does not fail the others",
    ),
    Mutant(
        _STANDARD,
        r'    if re.search(r"[-_]", text):',
        "    if False:",
        _TEST_STANDARD,
        "a secret in base64url is refused by name",
    ),
    Mutant(
        _STANDARD,
        'r"[0-9]{10}"',
        'r"[0-9]{10,13}"',
        _TEST_STANDARD,
        "time stamps in milliseconds are refused by name",
    ),
    Mutant(
        _CALLBACKS,
        'uuid5(context.tenant_id, f"{message_id}/{n}")',
        "events.new_id()",
        _TEST_CALLBACKS,
        "a repeated request has its effect once",
    ),
    Mutant(
        _CALLBACKS,
        " or item.tenant_id != event.tenantid",
        "",
        _TEST_CALLBACKS,
        "an item of another workspace is unknown",
    ),
    Mutant(
        _SECRETS,
        "    standard_webhooks.key(secret)\n",
        "",
        _TEST_SECRETS,
        "a wrong secret is refused when it is set",
    ),
    Mutant(
        _ENDPOINTS,
        " WHERE id = %(id)s AND previous_auth_token IS NULL\n",
        " WHERE id = %(id)s\n",
        _TEST_ENDPOINTS,
        "a third auth token does not replace one that is in use",
    ),
)
