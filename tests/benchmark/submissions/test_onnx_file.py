from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from onnx_files import export, helper, small, tensor

from benchmark.interfaces import BackboneSpec, DefenseSpec
from benchmark.models.graph_network import GraphNetwork
from benchmark.protocol.track import InputSpec
from benchmark.service.checker import Examiner
from benchmark.submissions.card import Card
from benchmark.submissions.problems import SubmissionError
from benchmark.submissions.submission import load_submission, pack, pack_onnx, pack_zip
from benchmark.submissions.validation import validate

CARD = Card(
    name="net",
    track="synthetic-quick",
    defenses=(DefenseSpec(name="undefended"),),
    backbone=BackboneSpec(name="graph"),
    norm="batch",
    embedding_size=12,
    input=InputSpec(size=(16, 16)),
)


def handed_in(folder: Path, proto=None, **changes) -> Path:
    folder.mkdir()
    card = CARD.model_copy(update=changes)
    (folder / "card.json").write_text(card.model_dump_json())
    (folder / "model.onnx").write_bytes((proto or small()).SerializeToString())
    return folder


def test_a_network_is_a_submission(tmp_path):
    report = validate(handed_in(tmp_path / "a"))
    assert report.ok, report.problems
    submission = load_submission(tmp_path / "a")
    assert isinstance(submission.backbone(), GraphNetwork)
    assert report.submission_id == submission.submission_id
    packed = pack_zip(tmp_path / "a", tmp_path / "a.zip")
    assert load_submission(packed).submission_id == submission.submission_id


def test_the_same_network_as_weights_is_the_same_submission(tmp_path):
    given = load_submission(handed_in(tmp_path / "a"))
    packed = pack(tmp_path / "b", given.card, given.backbone())
    assert packed.submission_id == given.submission_id
    assert validate(tmp_path / "b").ok
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(packed.backbone()(images), given.backbone()(images))


def test_other_wiring_of_the_same_weights_is_another_submission(tmp_path):
    proto = small()
    proto.graph.node[2].input[0], proto.graph.node[1].input[0], proto.graph.node[3].input[0] = "c", "p", "n"
    first, second = load_submission(handed_in(tmp_path / "a")), load_submission(handed_in(tmp_path / "b", proto))
    assert first.weights_sha256 == second.weights_sha256
    assert first.submission_id != second.submission_id


def test_packed_as_it_is(tmp_path):
    (tmp_path / "net.onnx").write_bytes(small().SerializeToString())
    packed = pack_onnx(tmp_path / "out", CARD, tmp_path / "net.onnx")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
    assert packed.card.backbone.kwargs["input_size"] == [16, 16]


def _bad_weight(proto) -> None:
    proto.graph.initializer[0].CopyFrom(tensor("c.weight", torch.full((8, 3, 3, 3), float("nan")).numpy()))


def _external(proto) -> None:
    item = proto.graph.initializer[0]
    item.ClearField("raw_data")
    item.data_location = 1
    entry = item.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def _costly(proto) -> None:
    proto.graph.initializer[6].CopyFrom(tensor("fc.weight", torch.zeros(12, 3).numpy()))
    sizes = tensor("sizes", torch.tensor([1, 3, 4096, 8192]).numpy())
    proto.graph.initializer.append(sizes)
    nodes = [
        helper.make_node("Resize", ["x", "", "", "sizes"], ["large"], mode="nearest"),
        helper.make_node("GlobalAveragePool", ["large"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (_bad_weight, "onnx", "NaN"),
        (_external, "onnx", "lies in another file"),
        (_costly, "onnx", "too many for one photo"),
        (lambda p: setattr(p.graph.node[2], "op_type", "Loop"), "onnx", "Loop"),
    ],
)
def test_hostile_networks_are_refused(tmp_path, change, code, text):
    proto = small()
    change(proto)
    (problem,) = validate(handed_in(tmp_path / "a", proto)).problems
    assert problem.code == code
    assert text in problem.message


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"backbone": BackboneSpec(name="iresnet_slim")}, "onnx_backbone"),
        ({"backbone": BackboneSpec(name="graph", kwargs={"input_size": [16, 16]})}, "onnx_backbone"),
        ({"embedding_size": 13}, "wrong_embedding_size"),
        ({"input": InputSpec(size=(32, 32))}, "onnx"),
        ({"norm": "none"}, "norm_mismatch"),
    ],
)
def test_cards_that_do_not_fit(tmp_path, changes, code):
    assert [p.code for p in validate(handed_in(tmp_path / "a", **changes)).problems] == [code]


def test_weights_and_network_together(tmp_path):
    folder = handed_in(tmp_path / "a")
    submission = load_submission(folder)
    pack(tmp_path / "b", submission.card, submission.backbone())
    (folder / "model.safetensors").write_bytes((tmp_path / "b" / "model.safetensors").read_bytes())
    assert "two_models" in [p.code for p in validate(folder).problems]


def test_photos_of_a_batch_may_not_be_coupled(tmp_path):
    class Centred(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(768, 12)

        def forward(self, x):
            given = self.linear(x.flatten(1))
            return given - given.mean(0, keepdim=True)

    path = export(Centred().eval(), tmp_path / "net.onnx", (16, 16), dynamo=False)
    folder = handed_in(tmp_path / "a", norm="none")
    (folder / "model.onnx").write_bytes(path.read_bytes())
    assert [p.code for p in validate(folder).problems] == ["onnx"]


def test_card_with_a_hostile_graph(tmp_path):
    given = load_submission(handed_in(tmp_path / "a"))
    pack(tmp_path / "b", given.card, given.backbone())
    card = json.loads((tmp_path / "b" / "card.json").read_text())
    steps = card["backbone"]["kwargs"]["graph"]
    for changed in (
        [["__class__", "relu", ["image"]]],
        [["a", "eval", ["image"]]],
        [["a", "relu", ["b"]], ["b", "relu", ["a"]]],
        [["a", "linear", ["image"], {"inputs": 10**9, "outputs": 10}]],
        [["forward", "relu", ["image"]]],
        "relu",
        [*steps[:-1], [steps[-1][0], "linear", steps[-1][2], {"inputs": 512, "outputs": 4096}]],
        [["a", "reshape", ["image"], {"shape": ["x"]}]],
    ):
        card["backbone"]["kwargs"]["graph"] = changed
        (tmp_path / "b" / "card.json").write_text(json.dumps(card))
        with pytest.raises(SubmissionError):
            load_submission(tmp_path / "b")


def test_checked_in_the_service_own_process(tmp_path):
    good, bad = handed_in(tmp_path / "a"), handed_in(tmp_path / "b")
    (bad / "model.onnx").write_bytes(small().SerializeToString()[:300])
    examiner = Examiner(seconds=120)
    try:
        assert examiner(good).ok
        assert [p.code for p in examiner(bad).problems] == ["onnx"]
    finally:
        examiner.close()
