"""The worker process: Procrastinate's app, preflight checks, supervision, liveness, rescue, prune and stopping."""
