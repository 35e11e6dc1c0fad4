"""The marketplace's settings, and the outcome of one call that costs money.

An outcome depends on the page and its number of tries, never on the sequence of calls: rules count per page, and each
page and try has a separate random generator. A run with a seed has the same outcomes with one caller or twenty.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from app.simulators.marketplace.spellings import MARKETS
from app.simulators.settings import Settings

Outcome = Literal[
    "serve", "error", "cut", "hold", "busy", "credit", "refuse", "end", "lost", "late", "garble", "spoil", "flood"
]
"""Charged: `serve`; `lost`: the connection is cut before the answer; `late`: no answer; `garble`: it is no JSON;
`spoil`: a field is missing; `flood`: it has no end. Not charged: `error`: 500; `cut`: the connection is cut; `hold`: no
answer; `busy`: 429; `credit`: 402; `refuse`: 422; `end`: 410, the source cannot go on."""
Rate = Annotated[float, Field(ge=0, le=1)]


class Category(BaseModel):
    """A category. `items`: of a page; `price_cents`: of a page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages: NonNegativeInt = 3
    items: NonNegativeInt = 20
    price_cents: NonNegativeInt = 5
    distinct: PositiveInt | None = None
    """Number of different items, which then repeat on later pages; `None`: all are different."""
    item_error_rate: Rate = 0
    """Share of the items that have an error code instead of data."""


class Form(BaseModel):
    """A call that costs money: a page of a category, or single items."""

    model_config = ConfigDict(frozen=True)

    reference: str = Field(min_length=1, max_length=200)
    category_id: str = ""
    cursor: str = ""
    external_ids: tuple[str, ...] = ()

    @property
    def bought(self) -> tuple[Any, ...]:
        """What is bought, independent of the reference."""
        return (self.category_id, self.cursor, *self.external_ids)


class Rule(BaseModel):
    """The outcome of calls whose `field` contains a text. The first matching rule applies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: Literal["category_id", "cursor", "reference"] = "category_id"
    contains: str = ""
    then: Outcome = "serve"
    cents: NonNegativeInt | None = None
    """The bill; `None`: as quoted."""
    message: str = "the marketplace refuses this"
    """The message of a refusal or an end."""
    times: PositiveInt | None = None
    """Number of tries of each page to which the rule applies; `None`: all."""

    def matches(self, form: Form) -> bool:
        """Return whether the form's field contains the text, case-sensitive."""
        return self.contains in getattr(form, self.field)


class ItemRule(BaseModel):
    """An error in place of an item, the first `times` that the item is bought; `None`: always."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contains: str = ""
    """Text in the item's exact id."""
    code: str
    message: str = ""
    times: PositiveInt | None = None


class Behaviour(Settings):
    """The marketplace's settings. Rates are shares of the calls that cost money, at most 1 in total."""

    api_keys: dict[str, str] = Field(default={"demo-key": "demo"})
    """API keys and the accounts that they open."""
    categories: dict[str, Category] = Field(default={})
    default_category: Category | None = Category()
    """Every category that `categories` does not name; `None`: they are unknown."""
    marketplace: str = "amazon.com"
    """The marketplace of calls without one in their path."""
    item_price_cents: NonNegativeInt = 1
    """Price of an item that is bought alone."""
    bill_percent: tuple[NonNegativeInt, NonNegativeInt] = (100, 100)
    """Lowest and highest share of the quoted price that a page costs in the end."""
    honours_references: bool = True
    """Whether a reference that was charged is served again free of charge. If not, it is charged again."""
    is_down: bool = False
    """Every call is answered 503, as during maintenance."""
    latency_ms: NonNegativeFloat = 0
    """Milliseconds until an answer. If the caller disconnects meanwhile, the page is charged all the same."""
    jitter_ms: NonNegativeFloat = 0
    """Largest random deviation from `latency_ms`, in milliseconds."""
    error_rate: Rate = 0
    """Answered 500; not charged."""
    cut_rate: Rate = 0
    """The connection is cut; not charged."""
    lost_rate: Rate = 0
    """Charged, then the connection is cut."""
    garble_rate: Rate = 0
    """Charged, and the answer is no JSON."""
    max_calls: PositiveInt | None = None
    """Most calls of an account in progress that cost money. Further calls are answered 429."""
    calls_a_window: PositiveInt | None = None
    """Most calls of an account in `window_s` seconds that cost money. Further calls are answered 429."""
    window_s: NonNegativeFloat = 1
    retry_after_s: NonNegativeInt | None = None
    """Retry-After header of answers 429 and 503, in seconds; `None`: no header."""
    retry_after_as: Literal["seconds", "date"] = "seconds"
    seed: int = 0
    """Makes pages, bills, rates and jitter repeatable."""
    rules: tuple[Rule, ...] = ()
    item_rules: tuple[ItemRule, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.error_rate + self.cut_rate + self.lost_rate + self.garble_rate > 1:
            raise ValueError("error_rate, cut_rate, lost_rate and garble_rate are more than 1 together")
        if self.bill_percent[0] > self.bill_percent[1]:
            raise ValueError("bill_percent: the lowest share is above the highest")
        if self.marketplace not in MARKETS:
            raise ValueError(f"marketplace: one of {', '.join(MARKETS)}")
        return self

    def category(self, category_id: str) -> Category | None:
        """Return a category; None if it is unknown."""
        return self.categories.get(category_id, self.default_category)


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome of one call: its delay in seconds, and its bill in cents."""

    then: Outcome
    delay: float
    cents: int
    message: str = ""


class Director:
    """Decides the outcome of each call. Counts the applications of each rule."""

    def __init__(self) -> None:
        self._played: Counter[tuple[Any, ...]] = Counter()
        self._tries: Counter[tuple[Any, ...]] = Counter()

    def fate(self, behaviour: Behaviour, form: Form, price: int) -> Fate:
        """Return the outcome of this try of a page with this quoted price: by a rule, else at random."""
        self._tries[form.bought] += 1
        dice = random.Random(repr((behaviour.seed, form.bought, self._tries[form.bought])))
        jitter = dice.uniform(-behaviour.jitter_ms, behaviour.jitter_ms)
        delay = max(0.0, behaviour.latency_ms + jitter) / 1000
        cents = _bill(behaviour, form, price)
        if rule := self._rule(behaviour.rules, form):
            return Fate(rule.then, delay, cents if rule.cents is None else rule.cents, rule.message)
        return Fate(_by_chance(behaviour, dice.random()), delay, cents)

    def item_error(self, behaviour: Behaviour, external_id: str) -> ItemRule | None:
        """Return the rule that spoils an item this time; None if there is none."""
        for rule in behaviour.item_rules:
            if rule.contains in external_id and self._plays((rule, external_id), rule.times):
                return rule
        return None

    def _rule(self, rules: tuple[Rule, ...], form: Form) -> Rule | None:
        for rule in rules:
            if rule.matches(form) and self._plays((rule, form.bought), rule.times):
                return rule
        return None

    def _plays(self, played: tuple[Any, ...], times: int | None) -> bool:
        if times is not None and self._played[played] >= times:
            return False
        self._played[played] += 1
        return True


def _bill(behaviour: Behaviour, form: Form, price: int) -> int:
    lowest, highest = behaviour.bill_percent
    if lowest == highest == 100:  # noqa: PLR2004 - percent
        return price
    return price * random.Random(repr((behaviour.seed, form.bought, "bill"))).randint(lowest, highest) // 100


def _by_chance(behaviour: Behaviour, chance: float) -> Outcome:
    shares: tuple[tuple[Outcome, float], ...] = (
        ("error", behaviour.error_rate),
        ("cut", behaviour.cut_rate),
        ("lost", behaviour.lost_rate),
        ("garble", behaviour.garble_rate),
    )
    for outcome, share in shares:
        if chance < share:
            return outcome
        chance -= share
    return "serve"


def first_problem(error: ValidationError) -> str:
    """Return the place and the text of the first problem."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
