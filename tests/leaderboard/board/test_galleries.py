from __future__ import annotations

from record_factory import make_record

from benchmark.protocol.tracks import TRACKS
from benchmark.runtime.home import gallery_dir
from leaderboard.board.galleries import pictures


def test_pictures_are_shown_only_where_the_data_allow_it(tmp_path):
    assert TRACKS["synthetic-64"].shows_faces
    assert not TRACKS["faces-112"].shows_faces
    for track, expected in (("synthetic-64", ["a.png", "b.png"]), ("faces-112", []), ("unknown", [])):
        record = make_record(track=track)
        folder = tmp_path / "galleries" / record.provenance.submission_id[:16]
        folder.mkdir(parents=True)
        for name in ("b.png", "a.png", "notes.txt"):
            (folder / name).write_bytes(b"")
        assert [path.name for path in pictures(record, tmp_path)] == expected


def test_an_id_is_never_a_path(tmp_path):
    record = make_record(track="synthetic-64")
    origin = record.provenance.model_copy(update={"submission_id": "../../secret"})
    (tmp_path / "galleries").mkdir()
    assert pictures(record.model_copy(update={"provenance": origin}), tmp_path) == []


def test_what_this_machine_rebuilt_stands_beside_what_ships(tmp_path, fresh_home):
    record = make_record(track="synthetic-64")
    shipped, own = tmp_path / "galleries" / record.provenance.submission_id[:16], gallery_dir(record.provenance.submission_id)
    for folder, names in ((shipped, ("a.png", "c.png")), (own, ("b.png", "c.png"))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(b"")
    assert pictures(record, tmp_path) == [shipped / "a.png", own / "b.png", own / "c.png"]
