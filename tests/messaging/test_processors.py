"""Processors: which one a content type has, and what is wrong with the setting."""

from __future__ import annotations

import pytest

from app.errors import SetupError
from app.messaging.processors import normalise, processor
from app.messaging.rules import CONTENT_TYPES
from app.settings import using
from tests.helpers import processors


def test_every_content_type_has_a_processor() -> None:
    """The default one, unless another is registered."""
    assert {processor(one) for one in CONTENT_TYPES} == {normalise}
    with using(message_processors=f" image={processors.HERE}:describe , audio={processors.HERE}:wait,"):
        assert [processor(one) for one in ("image", "audio", "text")] == [
            processors.describe,
            processors.wait,
            normalise,
        ]


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("sound=a:b", "'sound=a:b' must be TYPE=package.module:NAME, with a type of text, link, image"),
        ("text", "'text' must be TYPE=package.module:NAME"),
        ("text=json.dumps", "must be TYPE=package.module:NAME"),
        ("text=json:dumps,text=json:loads", "text has two processors; remove one"),
        ("text=tests.nowhere:describe", "the processor of text, 'tests.nowhere:describe', cannot be imported"),
        (f"text={processors.HERE}:nothing", "cannot be imported"),
        (f"text={processors.HERE}:NOT_A_FUNCTION", "is a str, not a function"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, problem: str) -> None:
    """With the entry and the remedy."""
    with using(message_processors=setting), pytest.raises(SetupError, match=f"MESSAGE_PROCESSORS: .*{problem}"):
        processor("text")
