"""Commands as they stand in the documents, and whether the command line has them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import typer.main

from benchmark.cli.app import app

ROOT = Path(__file__).parents[1]
ROOT_COMMAND = typer.main.get_command(app)
OLD = "findings-0.2.md"  # commands of an older version
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(p for p in sorted((ROOT / "docs").glob("*.md")) if p.name != OLD)]


def check_command(words: list[str]) -> None:
    """The words name a command of faceveil and options that it has; nothing runs."""
    words, command = list(words), ROOT_COMMAND
    while words and words[0] == "--plugin":
        words = words[2:]
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        assert words[0] in command.commands, f"faceveil has no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{command.name} has no {sorted(used - known)}"


def commands(page: Path) -> list[list[str]]:
    """Every ``faceveil ...`` of a page, in blocks and in running text."""
    text = page.read_text(encoding="utf-8")
    inside = re.findall(r"`faceveil ([^`]+)`", text)
    blocks = re.findall(r"```(?:console|bash)?\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in re.findall(r"^(?:\S*/)?faceveil (.*)$", block, re.MULTILINE)]
    found = []
    for line in (*inside, *lines):
        words = shlex.split(re.split(r"\s(?:&&|\||>)\s", line)[0], comments=True)
        if words and re.fullmatch(r"[a-z-]+", words[0]):
            found.append(words)
    return found
