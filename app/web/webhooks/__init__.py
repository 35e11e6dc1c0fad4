"""Doors for requests that others sign."""
