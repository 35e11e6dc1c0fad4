"""The engine: deliver events and apply each once. It imports no domain; `app.startup` installs the wiring."""
