"""Schema of the store, one migration a file; run by :class:`benchmark.store.Store`, never by hand."""
