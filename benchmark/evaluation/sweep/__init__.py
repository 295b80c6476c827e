"""A grid of defences trained and evaluated on one track, resumable and bounded in time."""
