"""``python -m benchmark.cli``: the command ``faceveil`` for launchers that start modules, such as torchrun."""

from __future__ import annotations

from benchmark.cli.entry import main

if __name__ == "__main__":
    main()
