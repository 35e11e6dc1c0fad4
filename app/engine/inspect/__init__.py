"""Inspect: where events are, why something does not run, and whether the invariants hold."""
