"""Requests of Twilio are accepted as they were signed, and nothing else is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from app.simulators import twilio
from app.web.webhooks.fields import Refused
from app.web.webhooks.form import MOST_FIELDS
from app.web.webhooks.twilio_signature import Account, Posted, verify

ACCOUNT_SID = "AC" + "0f" * 16
URL = "https://hooks.example.com/webhooks/twilio/endpoint"
LINE = twilio.Line(URL, ACCOUNT_SID, SecretStr("the auth token"))
ACCOUNT = Account(ACCOUNT_SID, [LINE.secret])
REPLIED = twilio.sid("MM")

Pairs = list[tuple[str, str]]

CAPTURED: dict[str, twilio.Form] = {
    "text": twilio.sms(LINE, "+573001112233", "Hola, necesito un envío a Bogotá: 2 cajas & 1 bolsa = 3"),
    "empty": twilio.sms(LINE, "+573001112233", ""),
    "from a city": twilio.sms(
        LINE, "+12025550199", "From where? To whom?\nSee https://a.example/?x=1", city="NEW YORK"
    ),
    "short code": twilio.sms(LINE, "891234", "Your code is 123456"),
    "company": twilio.sms(LINE, "Banco Uno", "Saldo: $1.000"),
    "media": twilio.with_media(twilio.sms(LINE, "+573001112233", ""), "image/jpeg", "text/x-vcard"),
    "whatsapp": twilio.whatsapp(LINE, "+573001112233", "¿A qué hora? 😀", profile_name="José Ñáñez"),
    "whatsapp id": twilio.whatsapp(LINE, "CO.4566546130240823", "hola", ExternalUserId="whatsapp:CO.4566546130240823"),
    "forwarded": twilio.whatsapp(LINE, "+573001112233", "mira", Forwarded="true", FrequentlyForwarded="false"),
    "button": twilio.whatsapp(
        LINE,
        "+573001112233",
        "Confirmar",
        MessageType="interactive",
        ButtonText="Confirmar",
        ButtonPayload='{"order":1}',
        OriginalRepliedMessageSid=REPLIED,
        OriginalRepliedMessageSender="whatsapp:+12025550142",
    ),
    "place": twilio.whatsapp(
        LINE,
        "+573001112233",
        "",
        MessageType="location",
        Latitude="4.7109886",
        Longitude="-74.072092",
        Address="Cra. 7 # 71-21, Bogotá",
        Label="Torre B",
    ),
    "advertisement": twilio.whatsapp(
        LINE,
        "+573001112233",
        "info",
        ReferralBody="Envíos a todo el país",
        ReferralHeadline="Desde 8.000",
        ReferralSourceId="120208322",
        ReferralSourceType="ad",
        ReferralSourceUrl="https://fb.me/abc",
        ReferralCtwaClid="ARAkLkA8rm-_fZ",
    ),
    "group": twilio.in_conversation(LINE, "+573001112233", "¿Quién va?", others=["+573001112244", "+12025550142"]),
}


def posted(fields: twilio.Form | Pairs, *, line: twilio.Line = LINE, signed: twilio.Form | None = None) -> Posted:
    """Return a request with `fields` and the signature of `signed`, by default the same."""
    body = urlencode(fields if isinstance(fields, list) else list(fields.items()), doseq=True).encode()
    given = twilio.headers(line, signed if signed is not None else dict(fields))
    return Posted(URL, given["Content-Type"], body, given["X-Twilio-Signature"])


def is_accepted(request: Posted, account: Account = ACCOUNT) -> bool:
    """Whether a request passes. Any error but a refusal fails the test."""
    try:
        verify(request, account)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("name", CAPTURED)
def test_a_signed_message_is_accepted_as_it_is(name: str) -> None:
    """A request of Twilio's passes, and its fields are those that were sent, blank ones included."""
    fields = verify(posted(CAPTURED[name]), ACCOUNT)
    assert {name: list(values) for name, values in fields.items()} == dict(_values(CAPTURED[name]))


@pytest.mark.parametrize(("name", "is_safe"), [("NumSurprises", True), ("LocalSender", True), ("Country", False)])
def test_an_unknown_field_is_left_out(name: str, *, is_safe: bool) -> None:
    """Twilio adds fields without notice. One that could not be the end of a text before it does no harm."""
    genuine = {**CAPTURED["text"], name: "7"}
    assert is_accepted(posted(genuine)) is is_safe
    if is_safe:
        assert name not in verify(posted(genuine), ACCOUNT)


def test_both_secrets_are_valid_during_a_rotation() -> None:
    """While one secret replaces the other, requests signed with either pass, and none signed with a third."""
    rotating = Account(ACCOUNT_SID, [SecretStr("next"), LINE.secret])
    for secret, expected in (("next", True), ("the auth token", True), ("another", False)):
        line = replace(LINE, secret=SecretStr(secret))
        assert is_accepted(posted(CAPTURED["text"], line=line), rotating) is expected


@pytest.mark.parametrize(
    ("signed", "called", "expected"),
    [
        ("https://hooks.example.com/a", "https://hooks.example.com/a", True),
        ("https://hooks.example.com:443/a", "https://hooks.example.com/a", True),
        ("https://hooks.example.com:8443/a", "https://hooks.example.com:8443/a", True),
        ("https://hooks.example.com/a", "https://hooks.example.com:8443/a", True),
        ("https://hooks.example.com:8443/a", "https://hooks.example.com/a", False),
        ("http://hooks.example.com/a", "https://hooks.example.com/a", False),
        ("https://other.example.com/a", "https://hooks.example.com/a", False),
        ("https://hooks.example.com/a%20b%40c%C3%A9", "https://hooks.example.com/a%20b%40c%C3%A9", True),
        ("https://hooks.example.com/a%20b%40c%C3%A9", "https://hooks.example.com/a b@cé", False),
        ("https://hooks.example.com/a?q=%7B1%7D&r=", "https://hooks.example.com/a?q=%7B1%7D&r=", True),
        ("https://hooks.example.com/a?q=1&r=2", "https://hooks.example.com/a?r=2&q=1", False),
        ("https://hooks.example.com/a?q=1", "https://hooks.example.com/a", False),
        ("https://hooks.example.com/a", "https://[hooks.example.com/a", False),
    ],
)
def test_the_signature_covers_the_url_as_it_was_called(signed: str, called: str, *, expected: bool) -> None:
    """The URL counts as it was sent, escapes included. Twilio signs it with or without the port."""
    request = posted(CAPTURED["text"], line=replace(LINE, url=signed))
    assert is_accepted(replace(request, url=called)) is expected


@pytest.mark.parametrize(
    "change",
    [
        {"signature": None},
        {"signature": ""},
        {"signature": "ñ" * 28},
        {"signature": "x"},
        {"signature_settings": "key=k,algorithm=HMAC_MD5"},
        {"signature_settings": "key=k,algorithm=HMAC_SHA256"},
        {"content_type": None},
        {"content_type": "application/json"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": "application/x-www-form-urlencoded; charset=latin-1"},
        {"body": b""},
        {"body": b"\xff\xfe"},
        {"body": b"Body=%ff"},
        {"body": b"Body=%zz"},
        {"body": b"Body"},
        {"body": b"&&&"},
        {"body": b"a=1&" * (MOST_FIELDS + 1)},
        {"body": b'{"Body": "hi"}'},
        {"body": b"[]", "content_type": "application/json"},
    ],
)
def test_a_malformed_request_is_refused(change: dict[str, str | bytes | None]) -> None:
    """Whatever is sent, the answer is a refusal and never an error."""
    assert not is_accepted(replace(posted(CAPTURED["text"]), **change))  # type: ignore[arg-type]


def test_a_json_body_is_refused_with_its_valid_hash() -> None:
    """Twilio's validator accepts a JSON body by a hash in the signed URL. Twilio sends no message so."""
    validator = RequestValidator("the auth token")
    body = '{"MessageSid": "SM00"}'
    url = f"{URL}?bodySHA256={validator.compute_hash(body)}"
    signature = validator.compute_signature(url, {})
    assert validator.validate(url, body, signature)
    assert not is_accepted(Posted(url, "application/json", body.encode(), signature))
    assert not is_accepted(Posted(url, "application/x-www-form-urlencoded", body.encode(), signature))


@pytest.mark.parametrize(
    ("fields", "moved"),
    [
        ({"Body": "hola"}, {"Body": "hol", "a": ""}),
        ({"Body": "Hello World"}, {"Body": "Hello ", "World": ""}),
        ({"Body": "hiForwardedtrue"}, {}),
        ({"Body": "hi", "Forwarded": "true"}, {"Body": "hiForwardedtrue", "Forwarded": None}),
        ({"FromCity": "ROME", "FromState": ""}, {"FromCity": "ROMEFromCountryCO", "FromCountry": None}),
        ({"FromCity": "ROME"}, {"From": ["+573001112233", "CityROME"], "FromCity": None}),
        ({}, {"Body": "holaFrom+573001112233", "From": None}),
        ({"Body": "aFrom+573000000000"}, {"Body": "a", "From": ["+573000000000", "+573001112233"]}),
        ({}, {"NumMedia": ["0", "0"]}),
        ({"Body": "x" * 32}, {"AccountSid": None}),
    ],
)
def test_text_cannot_move_between_fields(fields: dict[str, str], moved: dict[str, str | list[str] | None]) -> None:
    """A form with the same text in other fields is refused, although the signature fits most of them."""
    genuine = twilio.sms(LINE, "+573001112233", "hola") | fields
    changed = {name: value for name, value in {**genuine, **moved}.items() if value is not None}
    assert not is_accepted(posted(changed, signed=genuine))


def test_text_cannot_move_from_the_url_into_a_field() -> None:
    """The end of a signed query is no field, also if no known field could begin there."""
    request = posted(CAPTURED["text"], line=replace(LINE, url=f"{URL}?q=Abc"))
    assert is_accepted(replace(request, url=f"{URL}?q=Abc"))
    assert not is_accepted(replace(request, url=f"{URL}?q=", body=b"Abc=&" + request.body))


@pytest.mark.parametrize("account_sid", ["AC" + "1" * 32, "ac" + "0f" * 16])
def test_another_account_is_refused(account_sid: str) -> None:
    """An endpoint accepts the messages of its own account, also if another one is signed with the same secret."""
    line = replace(LINE, account_sid=account_sid)
    assert not is_accepted(posted(twilio.sms(line, "+573001112233", "hola"), line=line))


Mutator = Callable[[random.Random, Pairs], Pairs]


def _move_within(chance: random.Random, pairs: Pairs) -> Pairs:
    """Move the border between a name and its value."""
    n = chance.randrange(len(pairs))
    text = "".join(pairs[n])
    cut = chance.randrange(len(text) + 1)
    return [*pairs[:n], (text[:cut], text[cut:]), *pairs[n + 1 :]]


def _merge(chance: random.Random, pairs: Pairs) -> Pairs:
    """Append one or more fields to the value before them."""
    n = chance.randrange(len(pairs) - 1)
    last = chance.randrange(n + 1, min(n + 4, len(pairs)))
    tail = "".join(name + value for name, value in pairs[n + 1 : last + 1])
    return [*pairs[:n], (pairs[n][0], pairs[n][1] + tail), *pairs[last + 1 :]]


def _split(chance: random.Random, pairs: Pairs) -> Pairs:
    """Make a field of the end of a value."""
    n = chance.randrange(len(pairs))
    name, value = pairs[n]
    start = chance.randrange(len(value) + 1)
    stop = chance.randrange(start, len(value) + 1)
    return [*pairs[:n], (name, value[:start]), (value[start:stop], value[stop:]), *pairs[n + 1 :]]


def _move_between(chance: random.Random, pairs: Pairs) -> Pairs:
    """Move the border between two fields."""
    n = chance.randrange(len(pairs) - 1)
    (name, value), (next_name, next_value) = pairs[n : n + 2]
    if chance.random() < 0.5 and value:
        cut = chance.randrange(len(value))
        return [*pairs[:n], (name, value[:cut]), (value[cut:] + next_name, next_value), *pairs[n + 2 :]]
    cut = chance.randrange(len(next_name + next_value) + 1)
    text = next_name + next_value
    return [*pairs[:n], (name, value + text[:cut]), (text[cut:], ""), *pairs[n + 2 :]]


def _repeat(chance: random.Random, pairs: Pairs) -> Pairs:
    """Repeat a field, with its value or another one."""
    name, value = chance.choice(pairs)
    return [*pairs, (name, chance.choice([value, "", value + "x", chance.choice(pairs)[1]]))]


def _drop(chance: random.Random, pairs: Pairs) -> Pairs:
    """Leave out a field."""
    n = chance.randrange(len(pairs))
    return [*pairs[:n], *pairs[n + 1 :]]


def _change(chance: random.Random, pairs: Pairs) -> Pairs:
    """Change a value, or give it to another field."""
    n, m = chance.randrange(len(pairs)), chance.randrange(len(pairs))
    changed = list(pairs)
    changed[n], changed[m] = (pairs[n][0], pairs[m][1]), (pairs[m][0], pairs[n][1])
    return changed if changed != pairs else [*pairs[:n], (pairs[n][0], pairs[n][1] + "0"), *pairs[n + 1 :]]


MUTATORS: Sequence[Mutator] = (_move_within, _merge, _split, _move_between, _repeat, _drop, _change)


def test_ten_thousand_mutated_requests_are_refused() -> None:
    """No change of a signed form is accepted, also where the text that Twilio signs stays the same."""
    chance = random.Random(11)
    fitting = tried = 0
    accepted: list[Pairs] = []
    while tried < 10_000:
        genuine = chance.choice(list(CAPTURED.values()))
        pairs = sorted((name, value) for name, values in _values(genuine) for value in values)
        mutated = chance.choice(MUTATORS)(chance, pairs)
        if sorted(mutated) == pairs:
            continue
        tried += 1
        request = posted(mutated, signed=genuine)
        fitting += _fits(mutated, genuine)
        if is_accepted(request):
            accepted.append(mutated)
    assert not accepted, "\n".join(str(one) for one in accepted[:5])
    assert fitting > 2_000  # Twilio's validator alone would accept these


def test_requests_of_elsewhere_are_refused() -> None:
    """A genuine form is refused under another URL, port, scheme, secret or type of content."""
    chance = random.Random(12)
    signatures = [posted(fields, line=replace(LINE, url=URL + "2")).signature for fields in CAPTURED.values()]
    signatures += [posted(fields, line=replace(LINE, url=_with_port(8443))).signature for fields in CAPTURED.values()]
    signatures += [posted(fields, line=replace(LINE, secret=SecretStr("x"))).signature for fields in CAPTURED.values()]
    others = [
        lambda request: replace(request, url=request.url + chance.choice(["/", "x", "?x=1", "%20", "AccountSid"])),
        lambda request: replace(request, url=request.url.replace("https", "http")),
        lambda request: replace(request, content_type="application/json"),
        lambda request: replace(request, signature=chance.choice(signatures)),
    ]
    requests = [posted(fields) for fields in CAPTURED.values()]
    for _ in range(2_000):
        assert not is_accepted(chance.choice(others)(chance.choice(requests)))


def _with_port(port: int) -> str:
    return URL.replace("example.com", f"example.com:{port}", 1)


def _values(form: twilio.Form) -> Iterator[tuple[str, list[str]]]:
    """Yield each field with its values."""
    for name, value in form.items():
        yield name, [value] if isinstance(value, str) else list(value)


def _fits(pairs: Pairs, genuine: twilio.Form) -> bool:
    """Whether a mutated form has the text that was signed."""
    values: dict[str, set[str]] = {}
    for name, value in pairs:
        values.setdefault(name, set()).add(value)
    text = "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    return text == "".join(name + value for name, values in sorted(_values(genuine)) for value in sorted(values))
