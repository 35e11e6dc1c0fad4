"""Workspaces that can ship: the shop of logistics' fixtures."""

from __future__ import annotations

from app.logistics.fixtures.shop import ORDER, Shop, equip

__all__ = ["ORDER", "Shop", "equip"]
