"""Mutated cards and records through checks, import, board, API and exports: each is refused or shown, never an error."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mutations import mutated
from record_factory import make_record
from submission_factory import make_submission

from benchmark.interfaces import Contrast, FaceVeilError
from benchmark.records.exporting import eval_results_yaml, model_index_yaml, to_csv, to_json
from benchmark.records.runs import Run
from benchmark.service.intake import Intake
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store
from benchmark.submissions.validation import validate
from leaderboard.api.records import Listing
from leaderboard.api.routes import Api, application_of
from leaderboard.board.library import Library
from leaderboard.tables import columns, compare, details, extras, resistance

CASES = int(os.environ.get("FACEVEIL_FUZZ_CASES", "5000"))  # of cards, and as many of records
IN_A_STORE = 250
TABLES = (
    *(details.attack_frame, details.attack_table, details.attack_notes, details.cost_frame, details.utility_frame),
    *(details.gate_frame, details.card_text, details.provenance_text, details.reproduce, details.not_run),
)
LOOKED_INTO = 12  # entries of a store whose every table is made
BASES = [
    make_record("a", defense="dp_sgd", settings={"epsilon": 3.0}, track="synthetic-64", n_replicates=40),
    make_record("b", board="weights", seed=3, team="others", photos=2000, n_replicates=40),
    make_record("c", headline=False, complete=False, gate_valid=False, n_replicates=40),
]


def documents(rng: random.Random, count: int) -> Iterator[Any]:
    """Records with a few values changed, each with a name of its own."""
    bases = [json.loads(record.model_dump_json()) for record in BASES]
    for number in range(count):
        base = rng.choice(bases)
        base["provenance"]["submission_id"] = f"{number:064x}"
        yield mutated(base, rng)


def imported(store: Store, file: Path, document: Any) -> bool:
    """Whether a document was taken as a record; every refusal has words."""
    file.write_text(json.dumps(document))
    try:
        store.import_records(file)
    except FaceVeilError as error:
        told = str(error)
    else:
        return True
    assert len(told.split()) > 3
    return False


async def _ask(app: Any, path: str, query: str) -> tuple[int, bytes]:
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
             "headers": [], "root_path": "", "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1),
             "http_version": "1.1", "asgi": {"version": "3.0"}}  # fmt: skip
    await app(scope, receive, send)
    return told[0]["status"], b"".join(message.get("body", b"") for message in told[1:])


def ask(app: Any, path: str, query: str = "") -> bytes:
    """The answer's body; the status must be 200."""
    with ThreadPoolExecutor(1) as other:  # tests of pages in a browser may have left a loop running in this thread
        status, body = other.submit(asyncio.run, _ask(app, path, query)).result()
    assert status == 200, (path, query, status, body[:300])
    return body


def told_apart(run: Run) -> tuple[str, str | int]:
    """What no two runs of an entry share: verified ones are told apart by their seeds."""
    return run.configuration, run.submission_id if run.board == "weights" else run.seed


def look_at_everything(store: Store, root: Path, rng: random.Random) -> None:
    """What readers, pages and exports make of a store: a fault in any of it is the test's."""
    library = Library(store, root / "none")
    board = library.board()
    shown = {told_apart(run) for entry in board.entries.values() for run in entry.runs}
    stored = {told_apart(Run.of(record)) for record in store.records()}  # of one, the newest is shown
    left_out = sum(len(entry.left_out) for entry in board.entries.values())
    assert len(stored - shown) <= len(board.problems) + left_out, "each is shown, or named"
    app = application_of(Api(store, Listing(store, root / "none", library), Intake(store, Quarantine(root / "q")), ""), "")
    rows = json.loads(ask(app, "/api/v1/records", "limit=500"))["records"]
    json.loads(ask(app, "/api/v1/leaderboard"))
    for text in (columns.to_csv(board.frame), columns.to_json(board.frame), store.export("json"), store.export("csv")):
        text.encode()
    for row in rng.sample(rows, min(LOOKED_INTO, len(rows))):
        for end, query in (("", ""), ("/model-index", ""), ("/eval-results", "dataset=a/b")):
            ask(app, f"/api/v1/records/{row['id']}{end}", query)
    entries = list(board.entries.values())
    for entry in rng.sample(entries, min(LOOKED_INTO, len(entries))):
        record = library.record(entry.runs[0])
        for make in TABLES:
            make(record)
        details.citation(entry, record).encode()
        for contrast in Contrast:
            details.roc_frame(record, contrast)
        for value in extras.sections(record).values():
            extras.tables(value)
        compare.settings({"one": record, "two": BASES[0]})
        for of in (to_json, to_csv, model_index_yaml):
            of([record]).encode()
        eval_results_yaml([record], "a/b").encode()
    resistance.overview(resistance.tries(entries), Contrast.SAMPLE)


def run(records: Iterator[Any], root: Path, rng: random.Random) -> Counter[bool]:
    """Imports the documents, a few hundred to a store, and looks at everything that came of them."""
    counts: Counter[bool] = Counter()
    store, taken = Store(root / "0.sqlite"), 0
    for number, document in enumerate(records):
        done = imported(store, root / "record.json", document)
        counts[done] += 1
        taken += done
        if taken == IN_A_STORE:
            look_at_everything(store, root, rng)
            store.close()
            store, taken = Store(root / f"{number + 1}.sqlite"), 0
    look_at_everything(store, root, rng)
    store.close()
    return counts


def of_cards(rng: random.Random, count: int, folder: Path, found: Counter[str]) -> Iterator[Any]:
    """Records of those mutated cards that the checks take."""
    submission = make_submission(folder)
    card = json.loads((folder / "card.json").read_text())
    base = json.loads(BASES[1].model_dump_json())
    for number in range(count):
        (folder / "card.json").write_text(json.dumps(mutated(card, rng)))
        report = validate(folder)
        found["taken" if report.ok else "refused"] += 1
        assert report.ok or all(problem.message and problem.remedy for problem in report.problems)
        report.model_dump_json().encode()
        if report.ok:
            assert report.card is not None
            base["card"] = json.loads(report.card.model_dump_json())
            base["provenance"]["submission_id"] = f"{number:064x}"
            base["provenance"]["weights_sha256"] = submission.weights_sha256
            yield base


def test_a_few_mutated_records_and_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LOOKED_INTO", 1)
    counts = run(documents(random.Random(0), 12), tmp_path, random.Random(1))
    assert counts[True] >= 2
    assert counts[False] >= 2
    found: Counter[str] = Counter()
    run(of_cards(random.Random(0), 8, tmp_path / "entry", found), tmp_path, random.Random(2))
    assert found["taken"] >= 1
    assert found["refused"] >= 1


@pytest.mark.slow
def test_thousands_of_mutated_records(tmp_path: Path) -> None:
    counts = run(documents(random.Random(10), CASES), tmp_path, random.Random(11))
    print(f"{CASES} records: {counts[True]} taken, {counts[False]} refused")
    assert sum(counts.values()) == CASES


@pytest.mark.slow
def test_thousands_of_mutated_cards(tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    counts = run(of_cards(random.Random(20), CASES, tmp_path / "entry", found), tmp_path, random.Random(21))
    print(f"{CASES} cards: {dict(found)}, of their records {counts[True]} imported, {counts[False]} refused")
    assert sum(found.values()) == CASES
