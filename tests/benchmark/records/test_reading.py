from __future__ import annotations

from pathlib import Path

import pytest
from record_factory import make_record

from benchmark.interfaces import FaceVeilError
from benchmark.records.reading import items, read_record


def test_a_file_holds_one_record_or_a_list(tmp_path: Path) -> None:
    record = make_record("a")
    one, several = tmp_path / "one.json", tmp_path / "several.json"
    one.write_text(record.model_dump_json())
    several.write_text(f"[{record.model_dump_json()}, {record.model_dump_json()}]")
    assert read_record(one) == record
    assert len(items(several)) == 2
    with pytest.raises(FaceVeilError, match="holds 2 records: give a file with one"):
        read_record(several)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "Field required"),
        ("[3]", "Input should be an object"),
        (None, "No such file"),
    ],
)
def test_what_is_no_record_is_named_with_the_reason(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FaceVeilError, match=f"r.json is not a record.*{why}"):
        read_record(path)
