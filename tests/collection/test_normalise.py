"""Product ids and names of sellers are normalised by rules, and what cannot be read is refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.collection.normalise import Refused, SellerName, SellerNames, asin, seller_key, seller_name, seller_names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B07XYZ1234", "B07XYZ1234"),
        (" b07xyz1234\t", "B07XYZ1234"),
        ("\u00a0B07XYZ1234\u200b", "B07XYZ1234"),
        ("0306406152", "0306406152"),
        ("080442957x", "080442957X"),
        # lost leading zeros are restored if the check digit agrees
        ("306406152", "0306406152"),
        ("80442957X", "080442957X"),
        (" 80442957x ", "080442957X"),
        ("2154129", "0002154129"),
    ],
)
def test_a_product_id_is_trimmed_and_in_capitals(text: str, expected: str) -> None:
    """An ASIN, or an ISBN with ten digits; zeros that a spreadsheet has cut are put back."""
    assert asin(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("306406153", "'306406153' is no ISBN: its check digit does not agree"),
        ("0306406153", "'0306406153' is no ISBN: its check digit does not agree"),
        ("B07XYZ123", "'B07XYZ123' is no ASIN: B and nine letters or digits, or a ten-digit ISBN"),
        ("A07XYZ1234", "'A07XYZ1234' is no ASIN: B and nine letters or digits, or a ten-digit ISBN"),
        ("B07-XYZ123", "'B07-XYZ123' is no ASIN: B and nine letters or digits, or a ten-digit ISBN"),
        ("9780306406157", "'9780306406157' is no ASIN: B and nine letters or digits, or a ten-digit ISBN"),
        ("19", "'19' is no ASIN: B and nine letters or digits, or a ten-digit ISBN"),
        ("0000000000", "'0000000000' is no ISBN: its check digit does not agree"),
        ("", "'' is no ASIN: B and nine letters or digits, or a ten-digit ISBN"),
        ("x\ny" * 30, None),
    ],
)
def test_what_is_no_product_id_is_refused(text: str, reason: str | None) -> None:
    """Wrong letters, wrong length, a wrong check digit: nothing is padded or cut to fit."""
    found = asin(text)
    assert isinstance(found, Refused)
    assert found.reason.isprintable()
    assert reason is None or found.reason == reason


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Top_Deals", "user", "user:top_deals"),
        (" TOP_DEALS ", "user", "user:top_deals"),
        ("\uff34\uff2f\uff30_deals", "user", "user:top_deals"),
        ("Top_Deals", "shop", "shop:top_deals"),
        ("https://www.ebay.com/usr/Top_Deals?_trksid=1", "shop", "user:top_deals"),
        ("https://www.ebay.co.uk/str/TopDeals/", "user", "shop:topdeals"),
        ("ebay.de/str/topdeals", "user", "shop:topdeals"),
        ("shop:TopDeals", "user", "shop:topdeals"),
        ("user:*a.b-c*", "shop", "user:*a.b-c*"),
    ],
)
def test_a_sellers_name_has_no_case_but_a_kind(text: str, kind: Any, expected: str) -> None:
    """User names and slugs are compared without case; the same letters of the other kind are another name."""
    found = seller_name(text, kind)
    assert str(found) == expected
    assert seller_name(expected) == found


@pytest.mark.parametrize("text", ["", " ", "two words", "a/b", "a\x00b", "x" * 65, "https://example.com/usr/a"])
def test_what_is_no_sellers_name_is_refused(text: str) -> None:
    """Spaces, control characters, addresses of others and long texts are no names."""
    assert isinstance(seller_name(text), Refused)


USER, SHOP = SellerName("user", "ana"), SellerName("shop", "anas-shop")


@pytest.mark.parametrize(
    ("external_id", "data", "user", "shop"),
    [
        ("Ana", {}, USER, None),
        ("ANA", {"user_name": "ana"}, USER, None),
        ("shop:Anas-Shop", {}, None, SHOP),
        ("anas-shop", {"shop_slug": "Anas-Shop"}, None, SHOP),
        # only a source that shows both names says that they are one
        ("ana", {"user_name": "Ana", "shop_slug": "anas-shop"}, USER, SHOP),
        ("anas-shop", {"user_name": "Ana", "shop_slug": "anas-shop"}, USER, SHOP),
        ("ana", {"shop_slug": "anas-shop"}, USER, SHOP),
        # the same letters as user and as slug
        ("ana", {"shop_slug": "ANA"}, None, SellerName("shop", "ana")),
        ("ana", {"user_name": "ana", "shop_slug": "ANA"}, USER, SellerName("shop", "ana")),
    ],
)
def test_user_and_shop_stay_apart_until_a_source_shows_both(
    external_id: str, data: dict[str, Any], user: SellerName | None, shop: SellerName | None
) -> None:
    """An item names a user, a shop, or both as one; its main name is the user's if that is known."""
    found = seller_names(external_id, data)
    assert found == SellerNames(user, shop)
    assert isinstance(found, SellerNames)
    assert found.main == (user or shop)


@pytest.mark.parametrize(
    ("external_id", "data", "reason"),
    [
        ("ana", {"user_name": "eva"}, "two names: user:eva and user:ana"),
        ("shop:a", {"shop_slug": "b"}, "two names: shop:b and shop:a"),
        ("ana", {"user_name": 7}, "user_name is a text, not int"),
        ("ana", {"user_name": "ebay.com/str/a"}, "user_name is the name of a shop"),
        ("ana", {"shop_slug": "a b"}, "'a b' is no seller's name: 1 to 64 characters without spaces"),
        ("a b", {}, "'a b' is no seller's name: 1 to 64 characters without spaces"),
    ],
)
def test_names_that_contradict_each_other_are_refused(external_id: str, data: dict[str, Any], reason: str) -> None:
    """Two users or two shops are not one seller."""
    assert seller_names(external_id, data) == Refused(reason)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("muller", ["Müller GmbH", "MULLER G.m.b.H.", " müller ", "Mu\u0308ller", "\uff2dÜLLER gmbh", "Müller®"]),
        ("cafe sao joao", ["Café São João S.A.S.", "CAFE SAO JOAO, SAS", "Café  São João Ltda."]),
        ("bright deals", ["Bright Deals, Inc.", "Bright Deals LLC", "BRIGHT-DEALS L.L.C.", "Bright Deals Co., Ltd."]),
        ("strasse", ["Straße AG", "STRASSE ag"]),
        ("foo", ["Foo GmbH & Co. KG", "Foo & Co. KG", "Foo UG (haftungsbeschränkt)", "Foo Sp. z o.o."]),
        ("comercial azteca", ["Comercial Azteca S. de R.L. de C.V.", "Comercial Azteca S.A. de C.V."]),
        ("oneil", ["O'Neil Ltd", "O\u2019Neil"]),
        ("soni", ["株式会社ソニー", "ソニー(株)", "㈱ソニー"]),
        ("and sons", ["& Sons", "And Sons"]),
        # words that are also legal forms are names unless they are written with dots
        ("alpine spa", ["Alpine Spa", "ALPINE SPA"]),
        ("alpine", ["Alpine S.p.A."]),
        ("tiffany and co", ["Tiffany & Co.", "Tiffany and Co"]),
        # something is always left
        ("gmbh", ["GmbH", "gmbh"]),
        ("!!!", ["!!!", " !!! "]),
        ("", ["", " \u200b"]),
    ],
)
def test_spellings_of_one_seller_have_one_key(key: str, names: list[str]) -> None:
    """Case, accents, punctuation, spaces and legal forms do not make another seller."""
    assert {name: seller_key(name) for name in names} == dict.fromkeys(names, key)


def test_a_key_is_short_enough_for_an_index() -> None:
    """A long name has the key of its first words, also where a letter becomes many."""
    assert seller_key("deals " * 50) == "deals " * 32 + "deals"
    assert seller_key("x" * 300) == "x" * 200
    assert len(seller_key("\U0001f600 " * 10_000)) <= 200
    assert seller_key("!" * 300) == "!" * 200


@given(name=st.text(max_size=60))
def test_a_key_is_its_own_key(name: str) -> None:
    """Normalising twice changes nothing, so a stored key can be searched by the same rule."""
    key = seller_key(name)
    assert seller_key(key) == key
    assert bool(key) == bool(seller_key(f"  {name}\u200b "))
