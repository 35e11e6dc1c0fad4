"""Dead letters: find, edit, resolve and replay events that are not tried again."""
