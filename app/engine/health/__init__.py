"""Health: what is wrong with a server or a queue, and what to do about it."""
