"""A customer of the simulated marketplace, over real HTTP."""

from __future__ import annotations

from typing import Any, Self

import httpx


class Customer:
    """Calls the marketplace with an API key."""

    def __init__(self, url: str, key: str = "demo-key") -> None:
        self.http = httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=5, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def buy(
        self, reference: str = "r1", category_id: str = "books", cursor: str = "", **options: Any
    ) -> httpx.Response:
        """Buy a page. Options: `place`, a marketplace's name; those of httpx."""
        form = {"reference": reference, "category_id": category_id, "cursor": cursor}
        place = options.pop("place", None)
        return await self.http.post(f"/{place}/pages" if place else "/pages", json=form, **options)

    async def buy_items(self, reference: str, *external_ids: str, place: str = "amazon.com") -> httpx.Response:
        """Buy single items."""
        form = {"reference": reference, "external_ids": external_ids}
        return await self.http.post(f"/{place}/items", json=form)

    async def find(self, *references: str) -> list[dict[str, Any]]:
        """Return what these references were charged for."""
        answer = await self.http.get("/charges", params={"reference": list(references)})
        found: list[dict[str, Any]] = answer.json()["pages"]
        return found

    async def walk(self, category_id: str, place: str = "amazon.com") -> list[dict[str, Any]]:
        """Buy all pages of a category. Returns their answers."""
        answers: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await self.buy(f"{place}/{category_id}/{cursor}", category_id, cursor, place=place)
            answers.append(answer.raise_for_status().json())
            cursor = answers[-1]["next_cursor"]
        return answers
