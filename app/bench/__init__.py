"""Benchmarks: measure the program's speed and memory as ratios to baselines on the same machine."""
