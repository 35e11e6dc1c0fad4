"""The engine: events in, each applied once. It knows no domain; `app.wiring` tells it who serves what."""
