"""Effects: claim, execute and record calls to the outside world, within concurrency limits and cooldowns."""
