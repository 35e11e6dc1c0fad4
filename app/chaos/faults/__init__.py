"""Faults: each harms the fault context and says what it did, or returns None where it cannot be done now.

Its name is its function's. What lasts for a while says how it is undone.
"""
