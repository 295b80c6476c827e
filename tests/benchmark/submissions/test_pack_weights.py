"""Weights of one's own as a submission."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from benchmark.interfaces import BackboneSpec, FaceVeilError
from benchmark.models.backbones import create
from benchmark.protocol.tracks import get_track
from benchmark.submissions.pack_weights import pack_weights
from benchmark.submissions.submission import load_submission

TRACK = get_track("synthetic-smoke")
KWARGS = {"input_size": [32, 32], "embedding_size": 16}
SPEC = BackboneSpec(name="iresnet_slim", kwargs=KWARGS)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create("iresnet_slim", KWARGS).eval()


def test_it_embeds_as_before(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "net.pt")
    pack_weights(tmp_path / "net.pt", tmp_path / "out", TRACK, backbone=SPEC, fields={"team": "Us"})
    submission = load_submission(tmp_path / "out")
    photos = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(submission.backbone()(photos), network(photos))
    assert (submission.card.name, submission.card.team, submission.card.norm) == ("net", "Us", "batch")
    assert (submission.card.embedding_size, submission.card.input.size) == (16, (32, 32))


def test_safetensors_and_counters_left_out(network, tmp_path):
    state = {n: v.contiguous() for n, v in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "net.safetensors")
    assert pack_weights(tmp_path / "net.safetensors", tmp_path / "out", TRACK, backbone=SPEC).weights_sha256


def test_a_timm_name(tmp_path):
    torch.manual_seed(1)
    torch.save(create("resnet18").state_dict(), tmp_path / "r.pt")
    submission = pack_weights(tmp_path / "r.pt", tmp_path / "out", TRACK, backbone=BackboneSpec(name="resnet18"))
    assert (submission.card.embedding_size, submission.card.backbone.name) == (512, "resnet18")


def test_other_weights_are_refused_with_the_names_that_differ(network, tmp_path):
    state = {f"body.{n}": v for n, v in list(network.state_dict().items())[:9]}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(FaceVeilError, match=r"weights of iresnet_slim: missing: .* more; not in the backbone: body\."):
        pack_weights(tmp_path / "net.pt", tmp_path / "out", TRACK, backbone=SPEC)
    torch.save(network.state_dict(), tmp_path / "net.pt")
    with pytest.raises(FaceVeilError, match="of another shape: fc"):
        pack_weights(tmp_path / "net.pt", tmp_path / "out", TRACK)
    assert not (tmp_path / "out").exists()
