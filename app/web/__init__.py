"""The web application: `python cli.py serve`."""
