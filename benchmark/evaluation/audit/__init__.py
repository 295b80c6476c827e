"""Audits: of a training by canaries, of anybody's model, and for one person."""
