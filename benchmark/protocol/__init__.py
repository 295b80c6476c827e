"""What a result depends on, frozen and versioned: Track, the shipped tracks, their variants, and the registry of plug-ins."""
