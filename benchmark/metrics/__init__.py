"""Numbers from scores and embeddings: pure functions, one pinned definition each, with intervals over people."""
