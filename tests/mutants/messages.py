"""Mutants of messages: numbers, people, content, and the states of jobs."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_NUMBERS, _TEST_NUMBERS = "app/messaging/numbers.py", "tests/messaging/test_numbers.py"
_FORM, _TEST_FORM = "app/messaging/twilio_form.py", "tests/messaging/test_twilio_form.py"
_SCHEMA, _TEST_INTAKE = "migrations/0041_messaging.sql", "tests/messaging/test_intake.py"
_HANDLERS, _TEST_HANDLERS = "app/messaging/handlers.py", "tests/messaging/test_handlers.py"
_EFFECTS, _TEST_EFFECTS = "app/messaging/effects.py", "tests/messaging/test_effects.py"

MUTANTS = (
    Mutant(
        _NUMBERS,
        "    yield number\n    national",
        "    national",
        _TEST_NUMBERS,
        "a valid number stays as it is: a landline does not become a mobile",
    ),
    Mutant(
        _NUMBERS,
        "if phonenumbers.number_type(found) in _MOBILE:",
        "if number:",
        _TEST_NUMBERS,
        "a number is changed only into a mobile",
    ),
    Mutant(
        _FORM,
        "if channel in _OF_NUMBERS and",
        "if",
        _TEST_FORM,
        "an id of Messenger is not a number",
    ),
    Mutant(
        _FORM,
        "if not (names and _GROUP.fullmatch(address)):",
        "if address:",
        _TEST_FORM,
        "a group's id is no name of a person",
    ),
    Mutant(
        _SCHEMA,
        "            PERFORM FROM messaging.users u WHERE u.phone_number = found_users[1] FOR KEY SHARE;\n",
        "            PERFORM FROM messaging.users u WHERE u.phone_number = found_users[1];\n",
        _TEST_INTAKE,
        "a message waits for the merge of its sender",
    ),
    Mutant(
        _SCHEMA,
        "    UPDATE messaging.jobs j SET user_id = kept WHERE j.user_id = ANY(p_users) AND j.user_id <> kept;\n",
        "",
        _TEST_INTAKE,
        "the jobs of a merged person follow",
    ),
    Mutant(
        _HANDLERS,
        ' if jobs[event.data.job_id].status == "pending"',
        "",
        _TEST_HANDLERS,
        "a job begins once",
    ),
    Mutant(
        _HANDLERS,
        'job.status == "processing" and job.attempt == about.attempt',
        'job.status == "processing"',
        f"{_TEST_HANDLERS} {_TEST_EFFECTS}",
        "a result of another attempt changes nothing",
    ),
    Mutant(
        _HANDLERS,
        "received.created or store.reopen(context.connection, received.job_id)",
        "received.created",
        _TEST_HANDLERS,
        "the replay of a failed job reopens it",
    ),
    Mutant(
        _EFFECTS,
        "    gives_up_on=(Exception,),\n",
        "",
        _TEST_EFFECTS,
        "a job fails whatever its processor raises",
    ),
)
