"""The command line: one Typer application a noun; parse, call, print."""
