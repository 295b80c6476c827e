"""README and docs: every command exists with its options, and is run by a test or says why not."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from documents import PAGES, ROOT, Block, blocks, check_command, commands, inline, left_out, mark_of_text, with_smoke
from typer.testing import CliRunner

from benchmark.cli.app import app

RUNNABLE = [block for page in PAGES for block in blocks(page) if block.runnable]
MARK = re.compile(r"run|run slow|run by (?P<file>tests/\S+\.py)|not run: (?P<reason>.{15,})")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page):
    for words in commands(page):
        try:
            check_command(words)
        except AssertionError as error:
            pytest.fail(f"{page.name}: faceveil {shlex.join(words)}: {error}")


def check_mark(mark: str, where: str) -> None:
    """The mark is one of those that :mod:`documents` names, and its file is there."""
    found = MARK.fullmatch(mark)
    assert found, f"{where}: no comment says whether it is run; tests/documents.py names those that may stand there"
    if found["file"]:
        assert (ROOT / found["file"]).is_file(), f"{where}: there is no {found['file']}"


def test_every_block_is_run_or_says_why_not():
    assert len(RUNNABLE) > 25
    for block in RUNNABLE:
        check_mark(block.mark, f"{block.page.name}: {block.text.splitlines()[0]}")


def test_every_page_says_what_becomes_of_the_commands_in_its_text():
    for page in PAGES:
        told = [words for words in inline(page) if any(word.startswith("--") for word in words)]
        if told:
            check_mark(mark_of_text(page), f"{page.name}, in the text: faceveil {shlex.join(told[0])}")


def test_a_block_without_a_mark_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Text\n\n```\nfaceveil list tracks\n```\n\n<!-- run -->\n```console\nfaceveil list attacks\n```\n\n```json\n{}\n```\n"
    )
    first, second, third = blocks(page)
    assert (first.mark, second.mark) == ("", "run")
    assert first.runnable and second.runnable and not third.runnable  # noqa: PT018
    with pytest.raises(AssertionError, match="no comment"):
        check_mark(first.mark, "page")
    assert second.commands == [["list", "attacks"]]


def run_all(found: list[list[str]], done: int = 1) -> None:
    """Runs commands one after another; at least ``done`` of them must not be left out."""
    ran = 0
    for words in found:
        if left_out(words):
            continue
        words = with_smoke(words)
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"faceveil {shlex.join(words)}: {result.output or result.exception}"
        ran += 1
    assert ran >= done, "every command was left out"


@pytest.fixture
def folder(tmp_path, monkeypatch, fresh_home):
    """An empty folder to run commands in, with the shipped records where the repository has them."""
    (tmp_path / "leaderboard" / "records").mkdir(parents=True)
    shutil.copy(ROOT / "leaderboard" / "records" / "synthetic-quick.json", tmp_path / "leaderboard" / "records")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def slow_commands(page: Path) -> list[list[str]]:
    """The commands of a page's blocks that take minutes."""
    return [words for block in blocks(page) if block.mark == "run slow" for words in block.commands]


def _name(block: Block) -> str:
    return f"{block.page.stem}: {block.text.splitlines()[0][:40]}"


@pytest.mark.parametrize("block", [block for block in RUNNABLE if block.mark == "run"], ids=_name)
def test_blocks_that_take_seconds_run(block, folder):
    run_all(block.commands)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if slow_commands(p)], ids=lambda p: p.stem)
def test_the_blocks_of_a_page_run_one_after_another(page, folder):
    run_all(slow_commands(page), done=2)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if mark_of_text(p) == "run slow"], ids=lambda p: p.stem)
def test_the_commands_in_a_text_run_one_after_another(page, folder):
    run_all(inline(page), done=8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch has a newer exporter
def test_the_export_of_a_network_runs(tmp_path, monkeypatch):
    """The Python block of import.md, on a small network."""
    pytest.importorskip("onnx")
    import torch

    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in blocks(ROOT / "docs" / "import.md") if block.language == "python")
    names = {"torch": torch, "net": torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, stride=8), torch.nn.Flatten())}
    exec(compile(block.text, "import.md", "exec"), names)
    assert (tmp_path / "net.onnx").stat().st_size > 100


@pytest.mark.slow
def test_the_python_of_the_readme_runs(folder):
    """On the smallest track, with photos of its own and a network that was just trained."""
    import faceveil

    for role, name in (("members", "members"), ("public", "others")):
        run_all([["data", "export", "--track", "synthetic-smoke", "--role", role, "--out", name]])
    run_all([["train", "--track", "synthetic-smoke", "--out", "run/mine"]])
    (block,) = (block for block in blocks(ROOT / "README.md") if block.language == "python")
    model = faceveil.load_submission("run/mine").backbone()
    exec(compile(block.text.replace("synthetic-quick", "synthetic-smoke"), "README.md", "exec"), {"model": model})
    assert Path("report.html").stat().st_size > 1000


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
