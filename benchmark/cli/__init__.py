"""The command ``faceveil``: one file per group of commands."""

from __future__ import annotations

from benchmark.cli.entry import main

__all__ = ["main"]
