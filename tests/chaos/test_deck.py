"""The faults of a run follow from its seed."""

from __future__ import annotations

import random
from itertools import islice

from app.chaos.deck import Card, Deck

OPENING = ("kill", "freeze")
SHARES = {"kill": 2, "freeze": 1, "cut": 3}


def play(seed: int, cards: int) -> list[Card[str]]:
    """Return the first cards of a deck."""
    deck = Deck(seed, OPENING, SHARES)

    def drawn() -> Card[str]:
        top = deck.top
        deck.pop()
        return top

    return list(islice(iter(drawn, None), cards))


def test_a_seed_decides_the_faults_and_their_draws() -> None:
    """Two decks of one seed agree in order, pauses and random draws. Another seed differs."""
    assert play(7, 40) == play(7, 40)
    assert [card.fault for card in play(7, 40)] != [card.fault for card in play(8, 40)]
    assert len({random.Random(card.seed).random() for card in play(7, 40)}) == 40


def test_every_fault_comes_as_often_as_its_share() -> None:
    """The opening first, then whole decks."""
    faults = [card.fault for card in play(7, 2 + 12)]
    assert tuple(faults[:2]) == OPENING
    for deck in (faults[2:8], faults[8:14]):
        assert sorted(deck) == ["cut", "cut", "cut", "freeze", "kill", "kill"]


def test_the_opening_is_over_after_its_last_card() -> None:
    """Not before it: a run lasts at least until then."""
    deck = Deck(7, OPENING, SHARES)
    seen = []
    for _ in range(3):
        seen.append(deck.is_opened)
        deck.pop()
    assert seen == [False, False, True]
