import shutil

import numpy as np
import pytest
import torch
from command_line import document, run
from PIL import Image
from strangers import pictures

from benchmark.cli import output
from benchmark.interfaces import FaceVeilError

PHOTOS, PERSON = pictures(48, 4, seed=7, side=32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Photos of 48 people, half of the photos of 24 of them as members; and weights of a small timm model."""
    root = tmp_path_factory.mktemp("audit")
    for i, pixels in enumerate(PHOTOS):
        side = "members" if PERSON[i] < 24 and i % 4 < 2 else "nonmembers"
        path = root / side / f"person-{PERSON[i]:02d}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm.create_model("test_resnet", num_classes=10).state_dict(), root / "weights.pt")
    return root


def arguments(folders, *more):
    return [
        "audit-model", str(folders / "weights.pt"), "--backbone", "test_resnet", "--device", "cpu",
        "--members", str(folders / "members"), "--nonmembers", str(folders / "nonmembers"),
        "--attacks", "embedding_norm,regrown_head:gallery=weighted", *more,
    ]  # fmt: skip


def test_it_writes_a_page_and_says_what_it_found(folders, tmp_path):
    result = run(*arguments(folders, "--report", str(tmp_path / "report.html")))
    assert "48 photos trained on" in result.stdout
    assert "linear on pixels" in result.stdout
    for line in ("told apart", "   1  embedding_norm", "   2  regrown_head(gallery=weighted)"):
        assert line in result.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Privacy audit of weights.pt" in page
    assert "<svg" in page


def test_its_tables_fit_80_columns_and_break_no_word(folders, monkeypatch):
    monkeypatch.setattr(output.out, "width", 80)
    text = run(*arguments(folders)).stdout
    tables = [line for line in text.splitlines() if "[" in line]
    assert len(tables) > 5
    assert max(map(len, tables)) <= 80
    words = set(text.split())
    assert {"seen_vs_held_out", "embedding_norm", "regrown_head(gallery=weighted)"} <= words
    assert not any(word.startswith("seen_vs_held_o") and word != "seen_vs_held_out" for word in words)


def test_json_is_one_document(folders):
    found = document(*arguments(folders))
    assert found["photos"] == {"photos trained on": 48, "photos not trained on": 144, "people": 48}
    assert len(found["verdicts"]) == 3
    assert any("not part of the backbone" in note for note in found["notes"])  # the file's classification layer


def test_wrong_files_and_names_are_told(folders, tmp_path):
    with pytest.raises(FaceVeilError, match=r"ends in \.html"):
        run(*arguments(folders, "--report", str(tmp_path / "report.pdf")))
    with pytest.raises(FaceVeilError, match="does not hold the weights of 'test_vit'"):
        run(*[a if a != "test_resnet" else "test_vit" for a in arguments(folders)])
    assert "one number or three" in run(*arguments(folders, "--mean", "a,b"), code=2).output


def test_was_i_in_it_says_its_error_rate_or_refuses(folders, tmp_path):
    mine = folders / "nonmembers" / "person-40"

    def copied(name, people):
        for person in people:
            shutil.copytree(folders / "nonmembers" / f"person-{person}", tmp_path / name / f"person-{person}")
        return str(tmp_path / name)

    command = ["was-i-in-it", str(folders / "weights.pt"), "--backbone", "test_resnet", "--device", "cpu", "--mine", str(mine)]
    assert document(*command, "--others", copied("few", range(24, 40)))["outcome"] == "refused"
    rest = copied("rest", (*range(24, 40), *range(41, 48)))
    found = document(*command, "--others", rest)
    assert found["others"] == 23
    assert found["outcome"] in ("not_found", "found", "confounded")
    assert found["fpr"] == pytest.approx((found["above"] + 1) / 24)
    assert np.isfinite(found["conditional"]).all()
    assert "people not trained on who stand out as much" in run(*command, "--others", rest).stdout
