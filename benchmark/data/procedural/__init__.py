"""Procedural faces: people as numbers, drawn at any size, the same on every machine."""
