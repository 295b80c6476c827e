"""Differentially private training: clipping, accounting, and the defence that DP-SGD and user-level DP share."""
