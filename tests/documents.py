"""Commands as they stand in the documents: whether the command line has them, and which of them tests run.

Above each block of commands or of Python stands a comment that readers do not see: ``run`` (the fast tests run it),
``run slow``, ``run by FILE`` (that test runs it, or the same with data of its own) or ``not run: REASON``.  A page with
commands in its text says the same of them at its top, after ``in the text:``.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import typer.main

from benchmark.cli.app import app

ROOT = Path(__file__).parents[1]
ROOT_COMMAND = typer.main.get_command(app)
OLD = "findings-0.2.md"  # commands of an older version
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(p for p in sorted((ROOT / "docs").glob("*.md")) if p.name != OLD)]
PROGRAMS = ("faceveil", "python3", "podman", "sudo", "curl", "export", "pip", "tox", "torchrun", ".venv/bin/")
CODE = ("python", "toml", "console", "bash")
BLOCK = re.compile(r"(?:<!-- ([^\n]*?) -->\n\n?)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# commands that a block that is run leaves out, by how they begin, and why
LEFT_OUT = {
    "worker": "runs until it is interrupted",
    "leaderboard": "runs until it is interrupted; the browser tests open it",
    "submit": "needs somebody's server; tests of the service and of the API submit to their own",
    "queue": "needs a job on a server; tests of the service ask theirs",
    "team": "needs a server's store; tests of the service add teams to theirs",
    "panel": "needs a track: a name in passing",
    "sweep": "hours; tests of sweeps run small ones",
    "paper": "needs CASIA-WebFace; its own test runs it on small photos",
    "import": "needs somebody's network; tests of the import read small ones",
    "utility": "needs somebody's network and photos",
    "generator train": "an hour; tests of generators train small ones",
    "invert": "an hour; tests of inversion run a small generator",
    "data check PATH": "needs somebody's photos",
    "data pack": "needs somebody's photos",
    "train --track camera-112": "needs photos and weights of others",
    "unlearn": "needs more people than the smallest track has",
}


@dataclass(frozen=True)
class Block:
    """A block of a page.  ``mark``: what its comment says, empty where there is none."""

    page: Path
    language: str
    text: str
    mark: str

    @property
    def runnable(self) -> bool:
        """Whether it holds commands or code, and not what something prints."""
        lines = self.text.splitlines()
        return self.language in CODE or (not self.language and any(line.startswith(PROGRAMS) for line in lines))

    @property
    def commands(self) -> list[list[str]]:
        """Every ``faceveil ...`` of it."""
        return [words for line in re.findall(r"^(?:\S*/)?faceveil (.*)$", self.text, re.MULTILINE) if (words := _words(line))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in its order."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(page, language, text, mark) for mark, language, text in found]


def inline(page: Path) -> list[list[str]]:
    """Every ``faceveil ...`` in the running text of a page."""
    text = page.read_text(encoding="utf-8")
    return [words for line in re.findall(r"`faceveil ([^`]+)`", text) if (words := _words(line))]


def mark_of_text(page: Path) -> str:
    """What a page says of the commands in its text; empty where it says nothing."""
    found = re.search(r"^<!-- in the text: (.*?) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else ""


def commands(page: Path) -> list[list[str]]:
    """Every ``faceveil ...`` of a page, in blocks and in running text."""
    return [*inline(page), *(words for block in blocks(page) for words in block.commands)]


def _words(line: str) -> list[str]:
    words = shlex.split(re.split(r"\s(?:&&|\||>)\s", line)[0], comments=True)
    return words if words and re.fullmatch(r"[a-z-]+", words[0]) else []


def left_out(words: list[str]) -> str:
    """Why a command of a block that is run is left out; empty where it is run."""
    if "--static" in words or "--help" in words:
        return ""
    line = " ".join(words)
    return next((reason for start, reason in LEFT_OUT.items() if line == start or line.startswith(f"{start} ")), "")


def with_smoke(words: list[str]) -> list[str]:
    """The command on the smallest track, and on a small share of its people, so that it takes seconds."""
    small = {"synthetic-64": "synthetic-smoke", "synthetic-quick": "synthetic-smoke"}
    return [small.get(word, word) for word in words]


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
