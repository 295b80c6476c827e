"""README and docs: every command exists with its options; the tutorial runs from the first line to the last."""

from __future__ import annotations

import re
import shlex

import pytest
from documents import PAGES, ROOT, check_command, commands
from typer.testing import CliRunner

from benchmark.cli.app import app


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page):
    for words in commands(page):
        try:
            check_command(words)
        except AssertionError as error:
            pytest.fail(f"{page.name}: faceveil {shlex.join(words)}: {error}")


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    prose = [line for line in lines if not line.startswith(("|", "!["))]
    assert max(map(len, prose)) <= 100


def test_links_between_the_documents_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            generated = target.startswith(("reference/", "pictures/"))
            assert generated or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path, monkeypatch, fresh_home):
    monkeypatch.chdir(tmp_path)
    for words in commands(ROOT / "docs" / "tutorial.md"):
        if words[0] in ("leaderboard",):
            continue  # runs until it is interrupted; the browser tests open it
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"faceveil {shlex.join(words)}: {result.output or result.exception}"
