from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from record_factory import make_record

from benchmark.interfaces import content_hash
from benchmark.records import digest
from benchmark.records.runs import Run


def same(one: Run, other: Run) -> bool:
    """Equal to the last bit, arrays too."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Run)]
    return all(a.tobytes() == b.tobytes() and a.shape == b.shape if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_a_digest_holds_the_run_bit_by_bit():
    run = Run.of(make_record(utility=0.1 + 0.2, settings={"x": 1 / 3}))
    found = digest.run_of(digest.digest_of(make_record(utility=0.1 + 0.2, settings={"x": 1 / 3})).text)
    assert same(found, run)
    assert found.attacks[0] is run.attacks[0], "shared between records"


def test_ends_that_were_not_measured_stay_so():
    run = replace(Run.of(make_record()), tpr_at_1=(0.5, float("nan"), float("nan")))
    found = digest.run_of(digest._adapter().dump_json(run).decode())
    assert found.tpr_at_1[0] == 0.5
    assert np.isnan(found.tpr_at_1[1:]).all()


def test_a_change_of_what_is_kept_has_a_version_of_its_own():
    """Where this fails because of ``make_record`` alone, only the hash is new; else VERSION is, too."""
    text = digest.digest_of(make_record()).text
    assert (digest.VERSION, content_hash(json.loads(text))) == (2, "28635e11302ef94a")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "home"))
    path = tmp_path / "records.json"
    path.write_text("[]")
    return path


def kept(path, **changes):
    whole = {"version": digest.VERSION, "state": digest.state_of(path), "attacks": {}, "runs": (Run.of(make_record()),)}
    digest.keep(path, digest.FileDigest(**(whole | changes)))
    return digest.kept(path)


def test_a_file_has_a_digest_as_long_as_it_stays_as_it_is(file):
    assert digest.kept(file) is None
    assert same(kept(file).runs[0], Run.of(make_record()))
    file.write_text("[ ]")
    assert digest.kept(file) is None


def test_a_digest_of_another_version_or_date_does_not_count(file):
    assert kept(file, version=digest.VERSION + 1) is None
    assert kept(file, state=(1, 2, 0)) is None


def test_a_damaged_digest_does_not_count(file):
    kept(file)
    digest._place(file).write_text("{")
    assert digest.kept(file) is None


def test_where_nothing_can_be_kept_nothing_is(file, tmp_path, monkeypatch):
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "no-folder"))
    assert kept(file) is None
