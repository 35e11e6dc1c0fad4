"""The demo: the files it imports, and the processes it starts and stops."""
