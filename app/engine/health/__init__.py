"""Health checks of server, schema and queue."""
