"""Benchmarks: how fast the program is, as ratios against something that runs beside it."""
