"""Batches: what all jobs with items share."""
