"""Effects: calls to the outside world, claimed, executed and recorded."""
