"""Delivery: events of a row are applied once, put back or buried."""
