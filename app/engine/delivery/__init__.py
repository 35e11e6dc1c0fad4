"""Delivery: apply each event of a queue row once (handlers, ledger), or put it back, set it aside or bury it."""
