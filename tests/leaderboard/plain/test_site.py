"""The plain board holds everything that the board shows, links only to what is there, and runs nothing."""

from __future__ import annotations

import hashlib
import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest
from board_server import CHROMIUM
from record_factory import make_record

from benchmark.interfaces import FaceVeilError
from benchmark.service.store import Store
from leaderboard.board.library import Library
from leaderboard.plain import site

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }}"


def records():
    return [
        make_record("undefended", utility=0.85, leakage=0.75),
        make_record("public", "public_only", utility=0.6, leakage=0.0),
        make_record("dp", "dp_sgd", {"epsilon": 8}, utility=0.7, leakage=0.1),
        make_record("early", "early_stopping", seed=0),
        make_record("early", "early_stopping", seed=1),
        make_record(EVIL, settings={"x": 3}, board="weights", team=EVIL),
        make_record("old", protocol_version="0.2"),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The plain board of a store, and the board itself."""
    folder = tmp_path_factory.mktemp("plain")
    store = Store(folder / "store.sqlite")
    for record in records():
        store.add_record(record)
    library = Library(store, folder / "none")
    files = site.write(folder / "out", library.board(), library.every)
    return folder / "out", library, files


class Links(HTMLParser):
    """What a page links to, and the kinds of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.kinds: set[str] = set()
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.kinds.add(tag)
        self.targets += [value for name, value in attrs if name in ("href", "src") and value]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_every_entry_and_record_has_its_file_and_every_link_leads_somewhere(made):
    out, library, files = made
    board = library.board()
    assert {f"entries/{key}.html" for key in board.entries} <= set(files)
    assert len([name for name in files if name.startswith("records/")]) == len(records())
    for name in (name for name in files if name.endswith((".html", ".svg"))):
        page = Links((out / name).read_text())
        assert not page.kinds & {"script", "iframe", "form"}
        assert not page.handlers
        for target in page.targets:
            if not target.startswith("https://"):
                assert ((out / name).parent / target.split("#")[0]).resolve().is_file(), (name, target)


def test_the_front_page_ranks_and_answers(made):
    out, library, _ = made
    text = (out / "index.html").read_text()
    assert "Best defence" in text
    assert "0.700 [0.660, 0.740]" in text
    assert "protocol 0.2" in text  # a link to the other rankings
    frame = library.board().frame
    assert len(json.loads((out / "leaderboard.json").read_text())["entries"]) == len(frame)
    assert list(pd.read_csv(out / "leaderboard.csv")["key"]) == list(frame["key"])


def test_an_entry_of_two_seeds_links_both_records(made):
    out, library, _ = made
    key = next(key for key, entry in library.board().entries.items() if len(entry.runs) == 2)
    text = (out / "entries" / f"{key}.html").read_text()
    assert "Record of seed 0 as JSON" in text
    assert "Record of seed 1 as JSON" in text


def test_what_submitters_wrote_stays_text(made):
    out, library, _ = made
    key = next(key for key, entry in library.board().entries.items() if entry.label == EVIL)
    text = (out / "entries" / f"{key}.html").read_text()
    assert "&lt;script&gt;alert(1)" in text
    assert "{{ 7*7 }}" in text
    for plot in (out / "plots").glob("*.svg"):
        assert ElementTree.parse(plot).getroot().tag.endswith("svg")  # well formed, whatever the names


def test_an_earlier_board_is_replaced_and_other_folders_are_left_alone(made, tmp_path):
    out, library, files = made
    manifest = json.loads((out / "files.json").read_text())["files"]
    assert set(manifest) == set(files)
    assert hashlib.sha256((out / "style.css").read_bytes()).hexdigest() == manifest["style.css"]
    (out / "entries" / "gone.html").write_text("of an entry that was withdrawn")
    (out / "mine.txt").write_text("not the board's")
    (out / "files.json").write_text(
        json.dumps({"files": {**manifest, "entries/gone.html": "", str(tmp_path / "outside.txt"): ""}})
    )
    (tmp_path / "outside.txt").write_text("")
    site.write(out, library.board(), library.every)
    assert not (out / "entries" / "gone.html").exists()
    assert (out / "mine.txt").exists()
    assert (tmp_path / "outside.txt").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("")
    with pytest.raises(FaceVeilError, match="holds other things"):
        site.write(tmp_path / "other", library.board(), library.every)


def test_a_board_that_was_broken_off_is_written_by_the_next_run(made, tmp_path, monkeypatch):
    _, library, files = made
    monkeypatch.setattr(site._Site, "methods", lambda _self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        site.write(tmp_path / "new", library.board(), library.every)
    monkeypatch.undo()
    site.write(tmp_path / "new", library.board(), library.every)
    written = {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert written == {*files, site.MANIFEST}


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_phone_reads_it_from_the_disk_without_scripts_and_axe_finds_nothing_serious(made, browser):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    out, library, _ = made
    key = next(iter(library.board().entries))
    serious = []
    pages = {"light": ("index.html", f"entries/{key}.html", "about.html"), "dark": ("index.html", "methods/index.html")}
    for scheme in pages:
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        for name in pages[scheme]:
            page.goto((out / name).as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
            found = [v for v in axe.run(page).response["violations"] if v["impact"] in ("serious", "critical")]
            serious += [(scheme, name, v["id"], v["nodes"][0]["html"][:200]) for v in found]
        context.close()
    assert not serious
