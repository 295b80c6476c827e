"""Schema of the store, one migration a file; run by :class:`benchmark.service.store.Store`, never by hand."""
