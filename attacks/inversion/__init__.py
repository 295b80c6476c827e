"""Model inversion: one file per attack."""
