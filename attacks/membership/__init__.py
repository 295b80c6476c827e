"""Membership inference: one file per attack."""
