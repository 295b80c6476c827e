from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import run
from onnx_files import helper, model, rand, small, tensor

from benchmark.interfaces import FaceVeilError
from benchmark.submissions.submission import load_submission


@pytest.fixture
def network(tmp_path):
    (tmp_path / "net.onnx").write_bytes(small().SerializeToString())
    return tmp_path / "net.onnx"


def test_the_report_says_what_is_left_and_who_reads_it(network, tmp_path):
    report = json.loads(run("import", network, "--out", tmp_path / "out", "--json").stdout)
    notes = "\n".join(report["notes"])
    for part in ("1 of 1 BatchNorm layers are left", "bn_distance", "is assumed"):
        assert part in notes
    assert load_submission(tmp_path / "out").card.norm == "batch"


def test_without_batchnorm_what_needs_it_is_not_applicable(tmp_path):
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    (tmp_path / "net.onnx").write_bytes(model(nodes, [tensor("w", rand(768, 9))]).SerializeToString())
    report = json.loads(run("import", tmp_path / "net.onnx", "--out", tmp_path / "out", "--json").stdout)
    assert any("not applicable: bn_distance" in note for note in report["notes"])
    assert load_submission(tmp_path / "out").card.norm == "none"


def test_how_it_is_fed_can_be_said(network, tmp_path):
    run("import", network, "--out", tmp_path / "out", "--order", "bgr", "--normalise", "unit", "--keep-onnx")
    card = load_submission(tmp_path / "out").card
    assert (card.input.order, card.input.std) == ("BGR", (1.0, 1.0, 1.0))
    assert (tmp_path / "out" / "model.onnx").exists()
    for option, value in (("--order", "grb"), ("--normalise", "tanh"), ("--size", "large"), ("--output", "z")):
        with pytest.raises(FaceVeilError, match=value):
            run("import", network, "--out", tmp_path / "other", option, value)


def test_check_names_the_best_way(tmp_path):
    """A network that looks at blue alone, scaled from bytes, on people who differ in blue."""
    from PIL import Image

    pick = np.zeros((9, 3 * 16 * 16), np.float32)
    for row in range(9):
        pick[row, row * 20] = 1  # of the first channel, which is blue in BGR
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["c"]),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1),
    ]
    tensors = [tensor("low", np.float32(-1)), tensor("high", np.float32(1)), tensor("w", pick), tensor("b", rand(9) * 1e-3)]
    (tmp_path / "net.onnx").write_bytes(model(nodes, tensors).SerializeToString())
    generator = np.random.default_rng(0)
    for person in range(12):
        blue = generator.integers(0, 256, (16, 16))
        for photo in range(2):
            image = generator.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            image[..., 2] = np.clip(blue + generator.normal(0, 3, (16, 16)), 0, 255)
            (tmp_path / "faces" / f"p{person}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / "faces" / f"p{person}" / f"{photo}.png")
    command = ("import", tmp_path / "net.onnx", "--out", tmp_path / "out", "--check", tmp_path / "faces", "--json")
    report = json.loads(run(*command).stdout)
    assert report["input"]["order"] == "BGR"
    assert report["check"][0]["normalise"] != "bytes"
    assert report["check"][0]["auc"] > max(row["auc"] for row in report["check"] if row["order"] == "RGB")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "order", "norms", "dimensions"),
    [("face_recognition_sface_2021dec_int8bq", "RGB", 29, 128), ("faceplugin_fr_feature", "BGR", 0, 512)],
)
def test_published_networks_recognise_people(testdata, tmp_path, name, order, norms, dimensions):
    path = testdata / "models" / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"no {path.name} in the test data")
    from benchmark.data.readers.open import open_faces
    from benchmark.evaluation.input_check import MOST_PHOTOS, separation
    from benchmark.models.checkpoints import import_checkpoint
    from benchmark.models.imported import Fed

    imported = import_checkpoint(path, Fed(order=order))
    assert (imported.batchnorms[0], imported.embedding_size) == (norms, dimensions)
    photos = open_faces(testdata / "london_arcface112.tar", cache=tmp_path)
    index = np.arange(min(len(photos), MOST_PHOTOS // 4))
    auc, _, _ = separation(imported, photos, index, imported.input)
    assert auc > 0.999
