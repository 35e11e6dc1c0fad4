"""The demo's stage: the files that it imports, and the processes that it starts and stops."""
