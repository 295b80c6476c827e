"""Submissions: packing, loading, identity, and the refusal of cards, backbones and tensors that do not fit."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from submission_factory import BACKBONE, edit_card, make_backbone, make_card, make_submission

from benchmark.interfaces import BackboneSpec
from benchmark.models import backbones
from benchmark.protocol.track import InputSpec
from benchmark.submissions import expected_shapes
from benchmark.submissions.card_parser import parse_card
from benchmark.submissions.problems import CardError, MismatchError, PackagingError, SubmissionError, WeightsError
from benchmark.submissions.submission import load_submission, pack, pack_zip
from benchmark.submissions.validation import validate


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "entry"
    make_submission(folder)
    return folder


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "entry")


def spoil_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}
    save_file(tensors, folder / "model.safetensors")


def test_what_is_packed_is_what_is_loaded(tmp_path: Path) -> None:
    backbone = make_backbone()
    head = {"weight": torch.randn(10, 16)}
    packed = pack(tmp_path / "entry", make_card(notes="hello"), backbone, head)
    loaded = load_submission(tmp_path / "entry")
    assert loaded.card == packed.card == make_card(notes="hello")
    assert loaded.head is not None
    assert torch.equal(loaded.head["weight"], head["weight"])
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.backbone()(images), backbone(images))
    assert not loaded.backbone().training
    assert sorted(os.listdir(tmp_path)) == ["entry"], "nothing is left beside it"


def test_zip_and_folder_are_one_submission(folder: Path, tmp_path: Path) -> None:
    first = pack_zip(folder, tmp_path / "a.zip").read_bytes()
    os.utime(folder / "card.json", (1, 1))
    assert pack_zip(folder, tmp_path / "b.zip").read_bytes() == first, "the same files give the same zip"
    assert load_submission(tmp_path / "a.zip").submission_id == load_submission(folder).submission_id


def test_identity_is_weights_and_inference_transform(tmp_path: Path) -> None:
    plain = make_submission(tmp_path / "a")
    renamed = make_submission(tmp_path / "b", name="other", team="others")
    noisy = make_submission(tmp_path / "c", inference={"kind": "noise", "sigma": 0.25})
    retrained = make_submission(tmp_path / "d", seed=1)
    assert renamed.submission_id == plain.submission_id
    assert noisy.weights_sha256 == plain.weights_sha256
    assert noisy.submission_id != plain.submission_id
    assert retrained.weights_sha256 != plain.weights_sha256
    assert len(plain.submission_id) == len(plain.weights_sha256) == 64


def test_identity_tells_shapes_and_dtypes_apart(folder: Path) -> None:
    before = load_submission(folder).weights_sha256
    tensors = load_file(folder / "model.safetensors")
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    save_file(halves, folder / "model.safetensors")
    assert load_submission(folder).weights_sha256 != before


def test_loading_leaves_the_random_state_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_submission(folder).backbone()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_packing_replaces_an_older_submission_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    assert make_submission(folder, seed=1).submission_id == load_submission(folder).submission_id
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("precious")
    with pytest.raises(PackagingError, match="something else"):
        make_submission(other)
    assert (other / "chapter.txt").read_text() == "precious"


def test_a_failed_packing_leaves_the_older_submission(folder: Path) -> None:
    before = load_submission(folder).submission_id
    with pytest.raises(MismatchError, match="wrong_shape"):
        pack(
            folder,
            make_card(backbone=BackboneSpec(name="mobilefacenet", kwargs=BACKBONE["kwargs"] | {"width": 0.25})),
            make_backbone(),
        )
    assert load_submission(folder).submission_id == before
    assert os.listdir(folder.parent) == [folder.name]


CARDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown field": ({"defences": []}, "unknown_field", "Did you mean 'defenses'"),
    "unknown nested field": ({"input": {"size": [32, 32], "sise": 3}}, "unknown_field", "Did you mean 'size'"),
    "hidden text": ({"name": "a\u202eb"}, "field_value", "U[+]202E"),
    "no defence": ({"defenses": []}, "field_value", "defenses"),
    "negative epsilon": ({"claim": {"epsilon": -1, "delta": 0, "unit": "photo"}}, "field_value", "claim.epsilon"),
    "script link": ({"links": ["javascript:alert(1)"]}, "field_value", "https://"),
    "large photos behind a transform": (
        {
            "backbone": {"name": "iresnet_slim", "kwargs": {"input_size": [256, 256], "front": "partial_spectrum"}},
            "input": {"size": [256, 256]},
        },
        "input_size",
        "160",
    ),
    "huge photos": ({"input": {"size": [100000, 100000]}}, "input_size", "512"),
    "unknown transform": ({"inference": {"kind": "pickle"}}, "inference", "noise, int8, sign, top_k"),
}


@pytest.mark.parametrize("case", CARDS)
def test_cards_are_refused_with_the_field_and_the_remedy(folder: Path, case: str) -> None:
    changes, code, said = CARDS[case]
    edit_card(folder, **changes)
    with pytest.raises(CardError, match=said) as caught:
        load_submission(folder)
    assert caught.value.codes == (code,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"seed": NaN}', "not a number"),
        (b'{"seed": 1e999}', "not a number"),
        (b'{"name": "a", "name": "b"}', "twice"),
        (b'{"notes": "\\ud800"}', "surrogates"),
        (b"[]", "valid dictionary|object"),
        (b"{}", "missing_field"),
    ],
)
def test_texts_that_are_no_card_are_refused(text: bytes, said: str) -> None:
    with pytest.raises(CardError, match=said):
        parse_card(text)


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    ),
    st.sampled_from(["name", "defenses", "backbone", "input", "inference", "claim", "training", "links", "seed", "extra"]),
)
def test_any_json_in_a_card_is_accepted_or_refused_never_a_crash(value: Any, field: str) -> None:
    values = json.loads(make_card().model_dump_json()) | {field: value}
    try:
        card = parse_card(json.dumps(values).encode())
        right = parse_card(card.model_dump_json().encode()) == card
    except CardError as error:
        right = all(problem.message and problem.remedy for problem in error.problems)
    assert right


BACKBONES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "typo": ("mobilfacenet", {}, "unknown_backbone", "Did you mean mobilefacenet"),
    "download": ("hf-hub:timm/resnet18", {}, "unknown_backbone", "not the name"),
    "pretrained": ("resnet18", {"pretrained": True}, "backbone_kwargs", "'pretrained' may not be set"),
    "checkpoint": ("resnet18", {"checkpoint_path": "x"}, "backbone_kwargs", "'checkpoint_path' may not"),
    "configuration": ("resnet18", {"pretrained_cfg_overlay": {}}, "backbone_kwargs", "'pretrained_cfg_overlay' may not"),
    "file": ("resnet18", {"act_layer": "/etc/passwd"}, "backbone_kwargs", "/etc/passwd"),
    "object": ("resnet18", {"block": {"a": 1}}, "backbone_kwargs", "plain names"),
    "huge number": ("mobilefacenet", {"width": 1e6}, "backbone_kwargs", "8192"),
    "too many arguments": ("resnet18", {f"a{i}": 1 for i in range(40)}, "backbone_kwargs", "40 arguments"),
    "no such argument": ("mobilefacenet", {"depth": 3}, "backbone_kwargs", "depth"),
    "too wide": ("mobilefacenet", {"width": 500.0}, "backbone_too_large", "too large"),
    "one too large": ("vit_tiny_patch16_224", {"img_size": 8000, "patch_size": 1}, "backbone_too_large", "64000001"),
    "all too large": ("iresnet100", {"width": 8}, "backbone_too_large", "allowed"),
    "too deep": ("vit_tiny_patch16_224", {"depth": 8000}, "backbone_too_large", "50000 steps"),
}


@pytest.mark.parametrize("case", BACKBONES)
def test_backbones_are_refused_before_they_take_memory(folder: Path, case: str) -> None:
    name, kwargs, code, said = BACKBONES[case]
    edit_card(folder, backbone={"name": name, "kwargs": kwargs})
    with pytest.raises(MismatchError, match=said) as caught:
        load_submission(folder)
    assert caught.value.codes == (code,)
    assert torch.is_grad_enabled()  # whatever the builder was doing when it was stopped


def test_the_bounds_of_a_construction_end_with_it_and_hold_for_its_thread_alone() -> None:
    built: list[int] = []
    with expected_shapes._Meter(elements=3):
        with pytest.raises(expected_shapes._TooLargeError):
            torch.zeros(4)
        thread = threading.Thread(target=lambda: built.append(torch.zeros(4).numel()))
        thread.start()
        thread.join()
    assert built == [torch.zeros(4).numel()]


def test_a_machine_without_memory_judges_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Want of memory was taken for a backbone that does not fit, or left the bounds of its cost unchecked."""
    create, calls = backbones.create, []

    def scarce(lacking: int) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            calls.append(arguments)
            if len(calls) == lacking:
                raise MemoryError
            return create(*arguments)

        calls.clear()
        return counted

    monkeypatch.setattr(backbones, "create", scarce(0))
    assert not validate(folder).problems
    times = len(calls)
    assert times >= 3, "for its shapes, its cost and the cost of its training"
    for lacking in range(1, times + 1):
        monkeypatch.setattr(backbones, "create", scarce(lacking))
        with pytest.raises(MemoryError):
            validate(folder)


def test_a_backbone_that_would_take_the_machine_to_run_is_refused_unrun(tmp_path: Path) -> None:
    kwargs = {"patch_size": 2, "img_size": 512, "embed_dim": 64, "depth": 1, "num_heads": 1}
    card = make_card(backbone=BackboneSpec(name="vit_tiny_patch16_224", kwargs=kwargs), input=InputSpec(size=(512, 512)))
    pack(tmp_path / "entry", card, backbones.create("vit_tiny_patch16_224", kwargs))
    start = time.perf_counter()
    report = validate(tmp_path / "entry")
    assert [problem.code for problem in report.problems] == ["too_costly"]
    assert time.perf_counter() - start < 20


def test_any_timm_backbone_can_be_submitted(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = timm.create_model("convnext_atto", num_classes=0).eval()
    card = make_card(
        backbone=BackboneSpec(name="convnext_atto"), norm="layer", embedding_size=320, input=InputSpec(size=(64, 64))
    )
    assert pack(tmp_path / "entry", card, backbone).backbone().num_features == 320
    assert validate(tmp_path / "entry").problems == ()


TENSORS: dict[str, tuple[dict[str, torch.Tensor | None], type[SubmissionError], str, str]] = {
    "missing": ({"conv1.conv.weight": None}, MismatchError, "missing_tensor", "conv1.conv.weight"),
    "surplus": ({"classifier.weight": torch.zeros(2)}, MismatchError, "surplus_tensor", "classifier.weight"),
    "shape": ({"conv1.conv.weight": torch.zeros(3, 3)}, MismatchError, "wrong_shape", r"\[3, 3\]"),
    "whole numbers": ({"conv1.conv.weight": torch.zeros(8, 3, 3, 3, dtype=torch.int64)}, WeightsError, "dtype", "I64"),
    "bytes": ({"conv1.conv.weight": torch.zeros(8, 3, 3, 3, dtype=torch.uint8)}, WeightsError, "dtype", "U8"),
    "NaN": ({"conv1.conv.weight": torch.full((8, 3, 3, 3), torch.nan)}, WeightsError, "not_finite", "conv1.conv.weight"),
    "overflow": (
        {"conv1.conv.weight": torch.full((8, 3, 3, 3), 1e300, dtype=torch.float64)},
        WeightsError,
        "not_finite",
        "conv1.conv.weight",
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_fit_are_refused_by_name(folder: Path, case: str) -> None:
    changes, error, code, said = TENSORS[case]
    spoil_weights(folder, **changes)
    with pytest.raises(error, match=said) as caught:
        load_submission(folder)
    assert caught.value.codes == (code,)


def test_a_float_where_batches_are_counted_is_refused(folder: Path) -> None:
    name = next(n for n in load_file(folder / "model.safetensors") if n.endswith("num_batches_tracked"))
    spoil_weights(folder, **{name: torch.zeros(())})
    with pytest.raises(MismatchError, match="whole numbers"):
        load_submission(folder)


def test_a_head_of_many_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="17 tensors"):
        make_submission(tmp_path / "entry", head={f"w{i}": torch.zeros(1) for i in range(17)})


def test_validation_finds_every_problem_at_once(folder: Path) -> None:
    edit_card(folder, defences=1, team="")
    spoil_weights(folder, **{"conv1.conv.weight": torch.zeros(2, dtype=torch.int8)})
    (folder / "notes.md").write_text("x")
    (folder / "head.safetensors").write_bytes(b"short")
    report = validate(folder)
    assert {problem.code for problem in report.problems} == {"extra_file", "unknown_field", "field_value", "dtype", "truncated"}
    assert not report.ok
    assert all(problem.remedy for problem in report.problems)


def test_validation_reports_red_flags_with_their_remedies(folder: Path) -> None:
    assert validate(folder).problems == ()
    edit_card(folder, norm="group", embedding_size=99)
    report = validate(folder)
    assert [problem.code for problem in report.problems] == ["norm_mismatch", "wrong_embedding_size"]
    assert report.submission_id == load_submission(folder).submission_id
    assert not report.ok
    assert not report.flags
    assert type(report).model_validate_json(report.model_dump_json()) == report


def test_validation_shows_warnings_without_refusing(tmp_path: Path) -> None:
    backbone = make_backbone()
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.num_batches_tracked.zero_()
    pack(tmp_path / "entry", make_card(), backbone)
    report = validate(tmp_path / "entry")
    assert report.ok
    assert [(flag.name, flag.severity) for flag in report.flags] == [("bn_not_counted", "info")]


@pytest.mark.realdata
def test_a_public_checkpoint_passes_on_real_photos(tmp_path: Path) -> None:
    data = os.environ.get("FACEVEIL_TEST_DATA")
    if not data:
        pytest.skip("FACEVEIL_TEST_DATA names no folder of real faces")
    from benchmark.submissions.checkpoint_import import import_submission

    submission, _ = import_submission(
        Path(data) / "mobilefacenet_casia.ckpt", tmp_path / "entry", name="public", track="faces-112"
    )
    with zipfile.ZipFile(Path(data) / "orl_arcface112.zip") as archive:
        names = [name for name in archive.namelist() if name.lower().endswith((".png", ".jpg", ".pgm"))][:80:10]
        photos = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    report = validate(tmp_path / "entry", torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2))
    assert report.problems == ()
    assert report.submission_id == submission.submission_id


def test_an_entry_that_is_packed_anew_is_the_older_or_the_newer_one_whatever_happens(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C between the two renames that exchange them."""
    before = (folder / "model.safetensors").read_bytes()
    renamed = os.replace

    def interrupted(source: Path, target: Path) -> None:
        renamed(source, target)
        if source == folder:
            raise KeyboardInterrupt

    submission = load_submission(folder)
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(folder, submission.card, submission.backbone(), submission.head)
    monkeypatch.undo()
    assert (folder / "model.safetensors").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
