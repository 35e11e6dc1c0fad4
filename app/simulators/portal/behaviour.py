"""The portal's settings, and the outcome of one order call.

An outcome depends on the order and its number of tries, never on the sequence of calls: rules count per order, and each
order and try has a separate random generator. A run with a seed has the same outcomes with one caller or twenty.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from app.simulators.settings import Settings

Outcome = Literal["accept", "refuse", "error", "timeout", "lost", "garble", "flood", "drip"]
"""`lost` and `garble`: accepted, but the answer is lost or unreadable. `flood`: accepted, with an endless answer, as
fast as the caller reads. `timeout` and `drip`: not accepted, without an answer or with an endless slow one."""
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
        """Return the identity of the order, independent of its reference: recipient's document and address."""
        return (self.recipient_document or "", self.address)


class Rule(BaseModel):
    """The outcome of orders whose `field` contains a text. The first matching rule applies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: FormField
    contains: str = Field(min_length=1)
    then: Outcome
    message: str = "the portal refuses this order"
    """The message of a refusal."""
    times: PositiveInt | None = None
    """Number of tries of each order to which the rule applies; `None`: all."""

    def matches(self, form: OrderForm) -> bool:
        """Return whether the form's field contains the text, case-sensitive."""
        return self.contains in (getattr(form, self.field) or "")


class Behaviour(Settings):
    """The portal's settings. Rates are shares of the order calls, at most 1 in total."""

    accounts: dict[str, str] = Field(default={"demo": "demo-password"})
    """Usernames and their passwords."""
    is_down: bool = False
    """Every call is answered 503, as during maintenance."""
    latency_ms: NonNegativeFloat = 0
    """Milliseconds until an answer. If the caller disconnects meanwhile, the order is entered all the same."""
    jitter_ms: NonNegativeFloat = 0
    """Largest random deviation from `latency_ms`, in milliseconds."""
    error_rate: Rate = 0
    """Answered 500; not accepted."""
    timeout_rate: Rate = 0
    """Never answered; not accepted."""
    lost_answer_rate: Rate = 0
    """Accepted, but the answer is lost."""
    lost_answer: Literal["error", "hold"] = "error"
    """What the caller receives instead: 502 (`error`), or no answer (`hold`)."""
    seed: int | None = None
    """Makes the rates and the jitter repeatable."""
    session_lifetime_s: NonNegativeFloat = 3600
    session_uses: PositiveInt | None = None
    """Number of calls after which a session expires."""
    max_sessions: PositiveInt | None = None
    """Most order calls of an account in progress. Further calls are answered 429."""
    retry_after_s: NonNegativeInt | None = None
    """Retry-After header of answers 429 and 503, in seconds; `None`: no header."""
    cities: tuple[str, ...] | None = None
    """The cities that the portal accepts, in exact spelling; `None`: all."""
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _rates_leave_room(self) -> Self:
        if self.error_rate + self.timeout_rate + self.lost_answer_rate > 1:
            raise ValueError("error_rate, timeout_rate and lost_answer_rate are more than 1 together")
        return self


@dataclass(frozen=True, slots=True)
class Fate:
    """The outcome of one order call, and its delay in seconds."""

    then: Outcome
    delay: float
    message: str = ""


class Director:
    """Decides the outcome of each order call. Counts the applications of each rule."""

    def __init__(self) -> None:
        self._played: Counter[tuple[Rule, tuple[str, str]]] = Counter()
        self._tries: Counter[tuple[str, str]] = Counter()
        self._own_seed = random.SystemRandom().getrandbits(64)

    def fate(self, behaviour: Behaviour, form: OrderForm) -> Fate:
        """Return the outcome of this try: by a rule, else a refusal of an unknown city, else at random."""
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
