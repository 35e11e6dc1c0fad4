"""Collection: products and sellers from paid APIs, under a budget that cannot be overspent."""
