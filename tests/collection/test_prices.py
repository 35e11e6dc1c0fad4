"""Prices as marketplaces write them become minor units of a currency, or are refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.collection.currencies import DIGITS, place_of
from app.collection.prices import LARGEST, Price, Refused, price
from app.simulators.marketplace.spellings import MARKETS, amount

# The text, the marketplace, and the price: currency, lowest, and the highest of a range.
READ = [
    # the signs before thousands and cents are the country's
    ("1.199,99 €", "amazon.de", "EUR", 119_999, None),
    ("1,299.00", "amazon.com", "USD", 129_900, None),
    ("£1,199.99", "amazon.co.uk", "GBP", 119_999, None),
    ("R$ 1.299,00", "amazon.com.br", "BRL", 129_900, None),
    ("kr 1 299,00", "amazon.se", "SEK", 129_900, None),
    # spaces may be no-break or narrow
    ("1\u00a0649,00\u00a0€", "amazon.fr", "EUR", 164_900, None),
    ("1\u202f649,00 €", "amazon.fr", "EUR", 164_900, None),
    ("1 234 567,89 €", "amazon.fr", "EUR", 123_456_789, None),
    # apostrophes, straight and typographic
    ("1'299.00 CHF", "galaxus.ch", "CHF", 129_900, None),
    ("CHF 1\u2019299.00", "galaxus.ch", "CHF", 129_900, None),
    # Indian groups: two figures after the first three
    ("Rs. 1,29,999.00", "amazon.in", "INR", 12_999_900, None),
    ("₹1,29,999", "amazon.in", "INR", 12_999_900, None),
    ("₹129,999.00", "amazon.in", "INR", 12_999_900, None),
    # the marketplace decides what a sign means
    ("¥1,200", "amazon.co.jp", "JPY", 1_200, None),
    ("¥1,200", "amazon.cn", "CNY", 120_000, None),
    ("\uffe5\uff11\uff0c\uff12\uff10\uff10", "amazon.co.jp", "JPY", 1_200, None),
    ("$1,299.00", "amazon.com", "USD", 129_900, None),
    ("$1,299.00", "amazon.com.mx", "MXN", 129_900, None),
    ("$ 1.299.000", "amazon.com.co", "COP", 129_900_000, None),
    ("$1,299.00", "amazon.ca", "CAD", 129_900, None),
    # and which sign is the decimal one
    ("1.199 €", "amazon.de", "EUR", 119_900, None),
    ("$1.299", "amazon.com.co", "COP", 129_900, None),
    ("1,199", "amazon.com", "USD", 119_900, None),
    ("12.900", "amazon.com.co", "COP", 1_290_000, None),
    # what the text says itself counts more than the marketplace
    ("US $1.299,00", "ebay.de", "USD", 129_900, None),
    ("US $1,299.00", "ebay.de", "USD", 129_900, None),
    ("29.99", "amazon.de", "EUR", 2_999, None),
    ("$29.99 USD", "amazon.com.mx", "USD", 2_999, None),
    ("MXN$5.00", "amazon.com", "MXN", 500, None),
    ("1,200円", "unknown.example", "JPY", 1_200, None),
    ("EUR 1.199,99", "unknown.example", "EUR", 119_999, None),
    ("9,99", "WWW.Amazon.DE", "EUR", 999, None),
    # a currency without minor units, and one with three digits
    ("¥1200.00", "amazon.co.jp", "JPY", 1_200, None),
    ("KWD 1,199.500", "amazon.com", "KWD", 1_199_500, None),
    # whole amounts and short fractions
    ("29,- €", "amazon.de", "EUR", 2_900, None),
    ("29,- - 35,- €", "amazon.de", "EUR", 2_900, 3_500),
    ("29.\u2013 CHF", "galaxus.ch", "CHF", 2_900, None),
    ("$5", "amazon.com", "USD", 500, None),
    ("$29.9", "amazon.com", "USD", 2_990, None),
    ("$0.00", "amazon.com", "USD", 0, None),
    # of a range the lowest and the highest are kept
    ("US$ 29.99 - 35.99", "amazon.com", "USD", 2_999, 3_599),
    ("$29.99\u2013$35.99", "amazon.com", "USD", 2_999, 3_599),
    ("EUR 1.199 bis EUR 1.299", "amazon.de", "EUR", 119_900, 129_900),
    ("10 to 20 USD", "amazon.com", "USD", 1_000, 2_000),
    ("¥1,200 ~ ¥1,500", "amazon.co.jp", "JPY", 1_200, 1_500),
    ("$5 - $5", "amazon.com", "USD", 500, 500),
]

REFUSED = [
    # two readings, of which the marketplace allows none
    ("$1.299", "amazon.com", "'1.299' has no reading in USD"),
    ("1,200 €", "amazon.de", "'1,200' has no reading in EUR"),
    ("KWD 1.199", "unknown.example", "'1.199' has no reading in KWD"),
    # signs that do not belong to the marketplace's country
    ("$29.99", "amazon.de", "'$' is ambiguous at amazon.de"),
    ("¥1,200", "amazon.com", "'¥' is ambiguous at amazon.com"),
    ("29.99", "unknown.example", "an amount without a currency is ambiguous at unknown.example"),
    ("$5 EUR", "amazon.com", "two currencies: '$' and 'EUR'"),
    # figures that are no amount
    ("1,2345.00", "amazon.com", "'1,2345.00' has no reading in USD"),
    ("1,234,56", "amazon.com", "'1,234,56' has no reading in USD"),
    ("1.234.56", "amazon.de", "'1.234.56' has no reading in EUR"),
    ("1,29,999", "amazon.com", "'1,29,999' has no reading in USD"),
    ("0,299", "amazon.com", "'0,299' has no reading in USD"),
    ("$1.1234", "amazon.com", "'1.1234' has no reading in USD"),
    ("¥1,200.50", "amazon.co.jp", "'1,200.50' has no reading in JPY"),
    ("$29\u2079\u2079", "amazon.com", "small or circled figures have no certain place"),
    ("9" * 20, "amazon.com", "the amount is too large"),
    # more than a price, or less
    ("$1.5K", "amazon.com", "'K' is no currency"),
    ("from $29.99", "amazon.com", "'from$' is no currency"),
    ("5,00 €/kg", "amazon.de", "'€/kg' is no currency"),
    ("20% $5", "amazon.com", "more than one price: '20% $5'"),
    ("$29.99 $35.99", "amazon.com", "more than one price: '$29.99 $35.99'"),
    ("$1 - $2 - $3", "amazon.com", "more than one price: '$1 - $2 - $3'"),
    ("$29.99 -", "amazon.com", "more than one price: '$29.99 -'"),
    ("12 34,50 €", "amazon.de", "more than one price: '12 34,50 €'"),
    ("$35.99 - $29.99", "amazon.com", "the first amount of the range is above the second"),
    ("-5.00", "amazon.com", "a negative amount"),
    ("\u22125.00 €", "amazon.de", "a negative amount"),
    ("Currently unavailable", "amazon.com", "no amount: 'Currently unavailable'"),
    ("$", "amazon.com", "no amount: '$'"),
    (" \u00a0", "amazon.com", "empty"),
    ("$1" + " " * 100, "amazon.com", "longer than 100 characters"),
    (29.99, "amazon.com", "a price is a text, not float"),
    (None, "amazon.com", "a price is a text, not NoneType"),
]


@pytest.mark.parametrize(("text", "marketplace", "currency", "lowest", "highest"), READ)
def test_a_price_is_read_as_its_marketplace_writes_it(
    text: str, marketplace: str, currency: str, lowest: int, highest: int | None
) -> None:
    """Minor units of the currency that the text names, or else of the marketplace's; of a range both ends."""
    assert price(text, marketplace) == Price(currency, lowest, lowest if highest is None else highest)


@pytest.mark.parametrize(("text", "marketplace", "reason"), REFUSED)
def test_what_is_no_certain_price_is_refused_with_the_reason(text: object, marketplace: str, reason: str) -> None:
    """Nothing is guessed: two readings, an unknown word or a missing amount is a refusal that says why."""
    assert price(text, marketplace) == Refused(reason)


@given(text=st.text(max_size=120), marketplace=st.sampled_from([*MARKETS, "unknown.example", ""]))
def test_any_text_is_read_or_refused(text: str, marketplace: str) -> None:
    """No text raises an error; an amount is not negative, ordered and bounded; a reason is printable and short."""
    found = price(text, marketplace)
    if isinstance(found, Refused):
        assert found.reason.isprintable()
        assert len(found.reason) < 160
    else:
        assert 0 <= found.lowest <= found.highest < LARGEST
        assert found.currency in DIGITS


@given(
    data=st.data(),
    marketplace=st.sampled_from(sorted(MARKETS)),
    minor=st.integers(min_value=0, max_value=10**9),
)
def test_every_spelling_of_an_amount_is_that_amount(data: st.DataObject, marketplace: str, minor: int) -> None:
    """What a marketplace writes in any of its ways is read back as the same minor units."""
    market = MARKETS[marketplace]
    group, spelling = data.draw(st.sampled_from(market.groups)), data.draw(st.sampled_from(market.spellings))
    text = spelling.format(amount(market, minor, group))
    assert price(text, marketplace) == Price(market.currency, minor, minor)


def test_a_marketplace_is_known_by_its_ending() -> None:
    """Shops of one country write prices alike; the name's case and `www.` do not matter."""
    assert place_of("ebay.de") == place_of("WWW.Amazon.DE") == place_of("amazon.de")
    assert place_of("amazon.com.mx") != place_of("amazon.com")
    assert place_of("amazon") is None
