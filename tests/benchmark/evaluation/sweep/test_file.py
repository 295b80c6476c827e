from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.evaluation.sweep.file import open_sweep, shipped, unroll
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.registry import defenses
from benchmark.protocol.tracks import get_track


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def unrolled(path: Path, **options):
    return unroll(open_sweep(path)[1], **options)


def test_lists_span_a_grid_and_seeds_are_innermost(written):
    entries = unrolled(
        written("""
track: synthetic-smoke
seeds: [0, 1]
entries:
  - defense: undefended
  - defense: bn_perturbation
    set: {rho: [0.1, 0.5]}
  - defense: early_stopping+bn_perturbation
    set: {early_stopping.share: [0.1, 0.2], bn_perturbation.rho: 0.3}
    seeds: 7
""")
    )
    assert [(e.label, e.seed) for e in entries] == [
        ("undefended", 0),
        ("undefended", 1),
        ("bn_perturbation(rho=0.1)", 0),
        ("bn_perturbation(rho=0.1)", 1),
        ("bn_perturbation(rho=0.5)", 0),
        ("bn_perturbation(rho=0.5)", 1),
        ("early_stopping(share=0.1) + bn_perturbation(rho=0.3)", 7),
        ("early_stopping(share=0.2) + bn_perturbation(rho=0.3)", 7),
    ]
    assert [m.rho for m in entries[4].defense.members] == [0.5]
    assert len({e.digest for e in entries}) == len(entries)
    assert entries[0].baseline == entries[2].baseline != entries[1].baseline


def test_a_pattern_names_every_defence_that_matches(written):
    entries = unrolled(written('track: synthetic-smoke\nentries:\n  - defense: "*"\n  - defense: bn_rounding\n'))
    assert [e.defense.name for e in entries] == sorted(defenses(), key=lambda name: (name != "undefended", name))
    with pytest.raises(FaceVeilError, match="no defence of this name"):
        unrolled(written('track: synthetic-smoke\nentries:\n  - defense: "b*x"\n'))


def test_factors_make_variants_of_the_track(written):
    entries = unrolled(
        written("""
track: synthetic-smoke
shadows: 0
entries:
  - defense: undefended
    head: [softmax, arcface]
    norm: [batch, group]
    photos: [4, 8]
""")
    )
    assert len(entries) == 8
    assert {e.track.name for e in entries} == {
        f"synthetic-smoke[{factors}shadows=0]" for factors in ("head=softmax,photos=4,", "head=softmax,", "photos=4,", "")
    }
    assert {e.backbone.kwargs["norm"] if e.backbone else "" for e in entries} == {"", "group"}
    assert {e.label for e in entries} == {"undefended", "undefended [norm=group]"}
    assert all(get_track(e.track.name) == e.track for e in entries)


def test_what_stands_twice_runs_once(written):
    text = "track: synthetic-smoke\nentries:\n  - defense: [undefended, undefended]\n  - defense: undefended\n"
    assert len(unrolled(written(text))) == 1


def test_faces_go_to_the_tracks_that_read_some(written, tmp_path):
    entries = unrolled(written("track: [synthetic-smoke, faces-112]\nentries:\n  - {}\n"), data=tmp_path)
    assert [e.data for e in entries] == [None, tmp_path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("track: [", "not YAML"),
        ("track: synthetic-smoke\nentries: []", "entries"),
        ("track: synthetic-smoke\nentries:\n  - defence: undefended", "defence: Extra inputs.* An entry may say defense, set"),
        ("track: synthetic-smook\nentries:\n  - {}", "Did you mean 'synthetic-smoke'"),
        ("track: synthetic-smoke\nentries:\n  - defense: undefend", "Did you mean 'undefended'"),
        ("track: synthetic-smoke\nentries:\n  - {defense: bn_perturbation, set: {rho: [1, 99]}}", "rho: Input should be less"),
        ("track: synthetic-smoke\nentries:\n  - {defense: bn_perturbation, set: {roh: 1}}", "did you mean 'rho'"),
        ("track: synthetic-smoke\nentries:\n  - {defense: a+b, set: {rho: 1}}", "does not say whose it is"),
        ("track: synthetic-smoke\nentries:\n  - {head: margin}", "head=margin"),
        ("track: synthetic-smoke\nentries:\n  - {norm: instance}", "norm 'instance'"),
        (f"track: synthetic-smoke\nseeds: {list(range(2001))}\nentries:\n  - {{}}", "more than 2000"),
    ],
)
def test_a_wrong_file_is_refused(text, message, written):
    with pytest.raises(FaceVeilError, match=message):
        unrolled(written(text))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_may_have_a_mark_of_its_encoding(tmp_path, encoding):
    (tmp_path / "s.yaml").write_text("track: synthetic-quick\nentries: [{defense: undefended}]\n", encoding=encoding)
    assert len(unroll(open_sweep(tmp_path / "s.yaml")[1])) == 1


def test_a_missing_file_names_the_shipped_ones(tmp_path):
    with pytest.raises(FaceVeilError, match=r"does not exist. Shipped: .*factors"):
        open_sweep(tmp_path / "nowhere.yaml")
    with pytest.raises(FaceVeilError, match="Did you mean 'factors'"):
        open_sweep(Path("factor"))


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_sweeps_are_read(name):
    found, content = open_sweep(Path(name))
    entries = unroll(content)
    assert found == name
    assert content.summary
    assert entries
    undefended = [e for e in entries if e.defense.name == "undefended"]
    if name == "norms":  # compared at equal utility, not at equal length: see docs/preregistration.md
        lengths = {
            label: [e.track.training.epochs for e in entries if e.label == label] for label in {e.label for e in entries}
        }
        assert len(lengths) == 4
        assert {len(set(each)) for each in lengths.values()} == {4}
        assert all(set(each) & {e.track.training.epochs for e in undefended} for each in lengths.values())
        return
    for entry in entries:
        assert any(e.baseline == entry.baseline for e in undefended) or entry.backbone, entry.label


def test_the_quick_sweep_has_every_defence():
    entries = unroll(open_sweep(Path("synthetic-quick"))[1])
    named = {member.name for entry in entries for member in entry.defense.members}
    assert named == set(defenses())


def test_other_public_faces_make_another_entry_of_a_track_that_reads_photos(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("track: [faces-112, synthetic-smoke]\nentries: [{defense: undefended}]\n")
    _, content = open_sweep(path)
    plain, others = (unroll(content, data=tmp_path, public=public) for public in (None, tmp_path / "public"))
    assert [e.public for e in others] == [tmp_path / "public", None]
    assert plain[0].digest != others[0].digest
    assert plain[1].digest == others[1].digest


def test_shipped_boards_begin_with_both_controls():
    for name in ("synthetic-quick", "synthetic-64", "camera-112"):
        _, content = open_sweep(Path(name))
        assert [e.defense.name for e in unroll(content)][:2] == ["undefended", "public_only"]
