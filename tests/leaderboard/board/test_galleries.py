from __future__ import annotations

import io
import struct

from PIL import Image, PngImagePlugin
from record_factory import make_record

from benchmark.protocol.tracks import TRACKS
from benchmark.runtime.home import gallery_dir
from leaderboard.board.galleries import MAX_BYTES, MOST_SAMPLES, generator_samples, pictures


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


def png(side: int = 8, text: str = "") -> bytes:
    note, out = PngImagePlugin.PngInfo(), io.BytesIO()
    note.add_text("comment", text)
    Image.new("RGB", (side, side), (200, 30, 30)).save(out, "PNG", pnginfo=note)
    return out.getvalue()


def test_samples_of_generators_are_pixels_and_nothing_else(tmp_path, fresh_home):
    evil = "<script>alert(1)</script>"
    shipped, own = tmp_path / "galleries" / "generators", fresh_home / "galleries" / "generators"
    for folder in (shipped, own):
        folder.mkdir(parents=True)
    assert generator_samples(tmp_path) == []
    (shipped / "dcgan.png").write_bytes(png(text=evil) + evil.encode())
    (own / "ours.png").write_bytes(png())
    wide = png().replace(struct.pack(">II", 8, 8), struct.pack(">II", 5000, 8))
    hostile = {"html": evil.encode(), "wide": wide, "half": png()[:60], "large": png() + bytes(MAX_BYTES), "empty": b""}
    for name, data in hostile.items():
        (own / f"{name}.png").write_bytes(data)
    (own / "folder.png").mkdir()
    (own / "gone.png").symlink_to(own / "nothing")
    (own / "notes.txt").write_bytes(png())
    found = generator_samples(tmp_path)
    assert [samples.name for samples in found] == ["dcgan", "ours"]
    assert all(b"script" not in samples.png and samples.png.startswith(b"\x89PNG") for samples in found)
    assert Image.open(io.BytesIO(found[0].png)).getpixel((3, 3)) == (200, 30, 30)
    for number in range(MOST_SAMPLES + 3):
        (own / f"more-{number:02d}.png").write_bytes(png())
    assert len(generator_samples(tmp_path)) == MOST_SAMPLES
