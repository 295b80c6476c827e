"""Defences: one file each; imports ``benchmark`` only."""
