"""Tallyman: batches of outside work, done exactly once, on nothing but PostgreSQL."""
