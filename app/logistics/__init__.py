"""Logistics: robots that enter a workspace's orders into its carriers' portals."""
