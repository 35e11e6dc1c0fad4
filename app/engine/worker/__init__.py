"""The worker: Procrastinate's app, its supervision and its housekeeping."""
