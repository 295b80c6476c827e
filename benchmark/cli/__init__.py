"""The command ``faceveil``: one file per group of commands."""

from __future__ import annotations

from benchmark.cli.app import app, main

__all__ = ["app", "main"]
