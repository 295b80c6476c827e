"""Whole runs: the standard evaluation, its membership and inversion parts, audits, sweeps, and the session that
holds a track open.
"""
