"""Inversion of one target: attacks run, judged by backbones that they never saw."""
