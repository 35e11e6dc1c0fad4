"""What the portal is told to do, and what that means for one order.

Whatever happens to an order depends on the order and on how often it was tried, never on the order of calls: rules
count per order, and the random rates draw from dice that are thrown per order and try. So a run with a seed goes the
same way with one caller or with twenty.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

Outcome = Literal["accept", "refuse", "error", "timeout", "lost", "garble", "flood", "drip"]
"""`lost` and `garble` are accepted, but the caller hears nothing of it, or nothing that can be read. `flood` is
accepted and answered without end, as fast as the caller reads. `timeout` and `drip` are not accepted: the caller hears
nothing, or an answer that comes in drops and never ends."""
Rate = Annotated[float, Field(ge=0, le=1)]
FormField = Literal[
    "reference", "recipient_name", "recipient_document", "recipient_phone", "recipient_email", "address", "city"
]


class OrderForm(BaseModel):
    """The portal's order form. Amounts are cents, weights kilograms."""

    model_config = ConfigDict(frozen=True)

    reference: str = Field(min_length=1, max_length=100)
    recipient_name: str = Field(min_length=1)
    recipient_document: str | None = None
    recipient_phone: str | None = None
    recipient_email: str | None = None
    address: str = Field(min_length=1)
    city: str = Field(min_length=1)
    units: PositiveInt = 1
    weight_kg: float = Field(default=1.0, gt=0)
    declared_value_cents: NonNegativeInt = 0
    collect_on_delivery_cents: NonNegativeInt = 0

    @property
    def order(self) -> tuple[str, str]:
        """What makes two forms the same order, whatever their references: who gets it, and where."""
        return (self.recipient_document or "", self.address)


class Rule(BaseModel):
    """What becomes of the orders whose `field` contains a text; the first rule that applies decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: FormField
    contains: str = Field(min_length=1)
    then: Outcome
    message: str = "the portal refuses this order"
    """What a refusal says."""
    times: PositiveInt | None = None
    """To how many tries of each order it applies; `None`: to every one."""

    def matches(self, form: OrderForm) -> bool:
        """Whether the form's field contains the text, case and all."""
        return self.contains in (getattr(form, self.field) or "")


class Behaviour(BaseModel):
    """The portal's settings. The rates are shares of the order calls; together they are at most 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accounts: dict[str, str] = {"demo": "demo-password"}
    """Usernames and their passwords."""
    is_down: bool = False
    """Every call is answered 503, as during maintenance."""
    latency_ms: NonNegativeFloat = 0
    """How long an answer takes. A caller who leaves meanwhile is not noticed: the order is entered all the same."""
    jitter_ms: NonNegativeFloat = 0
    """By how much `latency_ms` varies up and down."""
    error_rate: Rate = 0
    """Answered 500; not accepted."""
    timeout_rate: Rate = 0
    """Never answered; not accepted."""
    lost_answer_rate: Rate = 0
    """Accepted, but the caller does not hear of it."""
    lost_answer: Literal["error", "hold"] = "error"
    """What the caller hears instead: 502, or nothing at all."""
    seed: int | None = None
    """Makes the rates and the jitter repeatable."""
    session_lifetime_s: NonNegativeFloat = 3600
    session_uses: PositiveInt | None = None
    """After how many calls a session expires."""
    max_sessions: PositiveInt | None = None
    """How many order calls an account may have in progress; one above is answered 429."""
    retry_after_s: NonNegativeInt | None = None
    """The Retry-After of answers 429 and 503; `None`: they have none."""
    cities: tuple[str, ...] | None = None
    """The cities that the portal knows, exactly so spelled; `None`: every city."""
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _rates_leave_room(self) -> Self:
        if self.error_rate + self.timeout_rate + self.lost_answer_rate > 1:
            raise ValueError("error_rate, timeout_rate and lost_answer_rate are more than 1 together")
        return self

    def changed(self, **changes: Any) -> Behaviour:
        """The same with some settings changed; raises pydantic's ValidationError for what is no setting."""
        return Behaviour.model_validate(self.model_dump() | changes)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one order call, and how long that takes in seconds."""

    then: Outcome
    delay: float
    message: str = ""


class Director:
    """Decides the fate of each order call and remembers which rules were played, and how often."""

    def __init__(self) -> None:
        self._played: Counter[tuple[Rule, tuple[str, str]]] = Counter()
        self._tries: Counter[tuple[str, str]] = Counter()
        self._own_seed = random.SystemRandom().getrandbits(64)

    def fate(self, behaviour: Behaviour, form: OrderForm) -> Fate:
        """What becomes of this try of an order: a rule's word, else an unknown city's, else the dice's."""
        dice = self._dice(behaviour, form)
        jitter = dice.uniform(-behaviour.jitter_ms, behaviour.jitter_ms)
        delay = max(0.0, behaviour.latency_ms + jitter) / 1000
        if rule := self._rule(behaviour, form):
            return Fate(rule.then, delay, rule.message)
        if behaviour.cities is not None and form.city not in behaviour.cities:
            return Fate("refuse", delay, f"city {form.city!r} is not known")
        return Fate(_by_chance(behaviour, dice.random()), delay)

    def _rule(self, behaviour: Behaviour, form: OrderForm) -> Rule | None:
        for rule in behaviour.rules:
            played = (rule, form.order)
            if rule.matches(form) and (rule.times is None or self._played[played] < rule.times):
                self._played[played] += 1
                return rule
        return None

    def _dice(self, behaviour: Behaviour, form: OrderForm) -> random.Random:
        seed = self._own_seed if behaviour.seed is None else behaviour.seed
        self._tries[form.order] += 1
        throw = (seed, *form.order, self._tries[form.order])
        return random.Random(repr(throw))


def _by_chance(behaviour: Behaviour, chance: float) -> Outcome:
    shares: tuple[tuple[Outcome, float], ...] = (
        ("error", behaviour.error_rate),
        ("timeout", behaviour.timeout_rate),
        ("lost", behaviour.lost_answer_rate),
    )
    for outcome, share in shares:
        if chance < share:
            return outcome
        chance -= share
    return "accept"
