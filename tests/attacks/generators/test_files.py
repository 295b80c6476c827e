from __future__ import annotations

import argparse
import math
import pickle
import re

import pytest
import torch
from published_generators import SMALL, random_tensors, shapes_of_nvlabs, shapes_of_rosinality, write_nvlabs
from safetensors.torch import load_file, save_file

from attacks.generators import files
from attacks.generators.files import for_track, load_generator, save_generator
from attacks.generators.stylegan2 import Generator
from benchmark.interfaces import FaceVeilError


def ours(generator):
    """A reference with the same tensors, built without the reader."""
    return generator(torch.ones(1, generator.z_dim), noise="const")


@pytest.mark.parametrize("resolution", [64, 256])
def test_reads_every_tensor_of_an_nvlabs_pickle(tmp_path, resolution):
    shapes = shapes_of_nvlabs(resolution, **SMALL)
    assert len(shapes) == {64: 1 + 16 + 5 * 5 + 1 + 9 * 7, 256: 1 + 16 + 7 * 5 + 1 + 13 * 7}[resolution]
    state = random_tensors(shapes)
    generator = load_generator(write_nvlabs(tmp_path / "network.pkl", state))
    expected = Generator(resolution, **SMALL)
    missing, unexpected = expected.load_state_dict(state, strict=False)
    assert not missing
    assert all(name.endswith("resample_filter") for name in unexpected)
    assert generator.resolution == resolution
    assert {k: generator.config[k] for k in SMALL} == SMALL
    torch.testing.assert_close(ours(generator), ours(expected))


@pytest.mark.parametrize("resolution", [64, 256])
@pytest.mark.parametrize("with_average", [True, False])
def test_reads_every_tensor_of_a_rosinality_checkpoint(tmp_path, resolution, with_average):
    shapes = shapes_of_rosinality(resolution, **SMALL)
    convs = 2 * int(math.log2(resolution)) - 3
    assert len(shapes) == 16 + 1 + convs * 5 + convs // 2 + (convs // 2 + 1) * 4 + convs // 2 + convs
    state = random_tensors(shapes)
    average = torch.randn(SMALL["w_dim"])
    content = {"g": state, "d": {}, "g_ema": state, "args": argparse.Namespace(size=resolution)}
    torch.save({**content, **({"latent_avg": average} if with_average else {})}, tmp_path / "ffhq.pt")
    generator = load_generator(tmp_path / "ffhq.pt")
    assert generator.resolution == resolution
    ws = torch.randn(2, generator.num_ws, SMALL["w_dim"])
    for sample in range(2):
        torch.testing.assert_close(
            generator.synthesis(ws)[sample], naive_rosinality(state, resolution, ws[sample]), atol=1e-4, rtol=1e-4
        )
    if with_average:
        torch.testing.assert_close(generator.w_avg, average)
    else:
        mean = generator.mapping.w(generator.latents(2000, seed=9)).mean(0)
        assert (generator.w_avg - mean).abs().max() < 0.3 * mean.abs().max()


def naive_rosinality(state, resolution, ws):
    """That layout's own forward pass, with scaled weights and one sample; its filters hold the gain of 4."""
    import torch.nn.functional as F

    def styled(name, x, w, noise):
        weight = state[f"{name}.conv.weight"][0]
        style = state[f"{name}.conv.modulation.weight"] / math.sqrt(len(w)) @ w + state[f"{name}.conv.modulation.bias"]
        weight = weight / math.sqrt(weight[0].numel()) * style[None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if f"{name}.conv.blur.kernel" in state:
            x = F.conv_transpose2d(x[None], weight.transpose(0, 1), stride=2)
            x = F.conv2d(F.pad(x[0][:, None], (1, 1, 1, 1)), state[f"{name}.conv.blur.kernel"][None, None])[:, 0]
        else:
            x = F.conv2d(x[None], weight, padding=1)[0]
        x = x + state[f"{name}.noise.weight"] * noise[0] + state[f"{name}.activate.bias"][:, None, None]
        return F.leaky_relu(x, 0.2) * math.sqrt(2)

    def rgb(name, x, w, skip):
        style = state[f"{name}.conv.modulation.weight"] / math.sqrt(len(w)) @ w + state[f"{name}.conv.modulation.bias"]
        weight = state[f"{name}.conv.weight"][0] / math.sqrt(len(style)) * style[None, :, None, None]
        out = F.conv2d(x[None], weight)[0] + state[f"{name}.bias"][0]
        if skip is None:
            return out
        wide = torch.zeros(3, 2 * skip.shape[1], 2 * skip.shape[2])
        wide[:, ::2, ::2] = skip
        return out + F.conv2d(F.pad(wide[:, None], (2, 1, 2, 1)), state[f"{name}.upsample.kernel"][None, None])[:, 0]

    x = styled("conv1", state["input.input"][0], ws[0], state["noises.noise_0"][0])
    image = rgb("to_rgb1", x, ws[1], None)
    for n in range(int(math.log2(resolution)) - 2):
        x = styled(f"convs.{2 * n}", x, ws[2 * n + 1], state[f"noises.noise_{2 * n + 1}"][0])
        x = styled(f"convs.{2 * n + 1}", x, ws[2 * n + 2], state[f"noises.noise_{2 * n + 2}"][0])
        image = rgb(f"to_rgbs.{n}", x, ws[2 * n + 3], image)
    return image


def test_the_source_in_a_pickle_never_runs(tmp_path):
    marker = tmp_path / "ran"
    source = f"open({str(marker)!r}, 'w').close()"
    state = random_tensors(shapes_of_nvlabs(16, **SMALL))
    load_generator(write_nvlabs(tmp_path / "network.pkl", state, source))
    assert not marker.exists()


class Command:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("suffix", [".pkl", ".pt"])
def test_code_in_a_file_is_refused(tmp_path, suffix):
    marker, path = tmp_path / "ran", tmp_path / f"network{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"G_ema": Command(marker)}))
    else:
        torch.save({"g_ema": Command(marker)}, path)
    with pytest.raises(FaceVeilError, match=r"posix.system.* never run|never run .*posix.system") as refused:
        load_generator(path)
    assert "weights_only" not in str(refused.value), "no advice to run it all the same"
    assert not marker.exists()


def test_a_pickle_cannot_change_what_the_reader_names(tmp_path):
    """BUILD assigns attributes to whatever a pickle can name; the reader's names live for one file only."""
    # GLOBAL torch_utils.persistence._reconstruct_persistent_obj; BUILD with (None, {"args": "spoilt"}); STOP
    spoil = b"\x80\x02ctorch_utils.persistence\n_reconstruct_persistent_obj\nN}U\x04argsU\x06spoilts\x86b."
    path = tmp_path / "spoil.pkl"
    path.write_bytes(spoil)
    with pytest.raises(FaceVeilError):
        load_generator(path)
    state = random_tensors(shapes_of_nvlabs(16, **SMALL))
    assert load_generator(write_nvlabs(tmp_path / "network.pkl", state)).resolution == 16


def test_a_tensor_cannot_claim_more_than_its_file_holds():
    from attacks.generators.pickles import rebuild_tensor

    flat = torch.arange(6.0)
    assert rebuild_tensor(flat, 1, (2, 2), (2, 1)).tolist() == [[1, 2], [3, 4]]
    with pytest.raises(FaceVeilError, match="declared on 6"):
        rebuild_tensor(flat, 0, (2**30,), (0,))
    with pytest.raises(FaceVeilError, match="declared"):
        rebuild_tensor(flat, -1, (2,), (1,))
    with pytest.raises(RuntimeError):
        rebuild_tensor(flat, 3, (2, 2), (2, 1))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"": {"c_dim": 10}}, "c_dim=10"),
        ({"synthesis.b8": {"architecture": "resnet"}}, "architecture='resnet'"),
        ({"mapping.fc0": {"bias_gain": 1}}, "multiplier of 1"),
        ({"synthesis.b8.conv0": {"conv_clamp": 256}, "synthesis.b8.conv1": {"conv_clamp": None}}, "clamp at different"),
    ],
)
def test_other_architectures_are_named(tmp_path, attributes, reason):
    state = random_tensors(shapes_of_nvlabs(8, **SMALL))
    with pytest.raises(FaceVeilError, match=re.escape(reason)):
        load_generator(write_nvlabs(tmp_path / "network.pkl", state, attributes=attributes))


def test_the_clamp_of_a_mixed_precision_checkpoint_is_kept(tmp_path):
    state = random_tensors(shapes_of_nvlabs(8, **SMALL))
    layers = [f"synthesis.{layer}" for layer in ("b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb")]
    path = write_nvlabs(tmp_path / "n.pkl", state, attributes={name: {"conv_clamp": 256} for name in layers})
    generator = load_generator(path)
    assert generator.config["clamp"] == 256
    save_generator(generator, tmp_path / "n.safetensors")
    assert load_generator(tmp_path / "n.safetensors").config["clamp"] == 256


def spoilt(state, kind):
    state = dict(state)
    if kind == "missing":
        del state["synthesis.b8.conv1.bias"]
    elif kind == "unexpected":
        state["synthesis.b8.conv9.bias"] = torch.zeros(3)
    elif kind == "shape":
        state["synthesis.b8.torgb.bias"] = torch.zeros(4)
    elif kind == "nan":
        state["mapping.fc2.bias"] = torch.full((SMALL["w_dim"],), torch.nan)
    elif kind == "filter":
        state["synthesis.b8.conv0.resample_filter"] = torch.ones(4, 4) / 16
    return state


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("missing", "missing synthesis.b8.conv1.bias"),
        ("unexpected", "unexpected synthesis.b8.conv9.bias"),
        ("shape", r"synthesis.b8.torgb.bias \(4,\) instead of \(3,\)"),
        ("nan", "NaN or infinite mapping.fc2.bias"),
        ("filter", "synthesis.b8.conv0.resample_filter is not the filter"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, kind, named):
    state = spoilt(random_tensors(shapes_of_nvlabs(8, **SMALL)), kind)
    with pytest.raises(FaceVeilError, match=named):
        load_generator(write_nvlabs(tmp_path / "network.pkl", state))


def test_missing_tensors_of_a_rosinality_checkpoint_are_named(tmp_path):
    state = random_tensors(shapes_of_rosinality(16, **SMALL))
    del state["convs.1.noise.weight"], state["noises.noise_2"]
    torch.save({"g_ema": state}, tmp_path / "a.pt")
    with pytest.raises(FaceVeilError, match=r"missing synthesis.b8.conv1.noise_strength, synthesis.b8.conv1.noise_const"):
        load_generator(tmp_path / "a.pt")


def small():
    torch.manual_seed(0)
    generator = Generator(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128, channel_max=16)
    generator.mapping.w_avg.normal_()
    return generator


def test_safetensors_keep_tensors_settings_and_metadata(tmp_path):
    generator = small()
    save_generator(generator, tmp_path / "g.safetensors", {"command": "made by a test", "seed": "3"})
    again = load_generator(tmp_path / "g.safetensors")
    assert again.config == generator.config
    assert again.metadata == {"command": "made by a test", "seed": "3"}
    assert not any(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(ours(again), ours(generator), rtol=0, atol=0)
    save_generator(generator, tmp_path / "h.safetensors", half=True)
    assert (tmp_path / "h.safetensors").stat().st_size < 0.65 * (tmp_path / "g.safetensors").stat().st_size
    torch.testing.assert_close(ours(load_generator(tmp_path / "h.safetensors")), ours(generator), rtol=0, atol=0.02)


def test_one_misshapen_tensor_is_named_alone(tmp_path):
    path = tmp_path / "g.safetensors"
    save_generator(Generator(32, z_dim=8, w_dim=8, mapping_layers=1, channel_base=128, channel_max=16), path)
    save_file({**load_file(path), "synthesis.b16.conv1.weight": torch.ones(2, 8, 3, 3)}, path)
    with pytest.raises(FaceVeilError, match=r"of another shape synthesis\.b16\.conv1\.weight \(2, 8, 3, 3\) .*\)\.$") as told:
        load_generator(path)
    assert str(told.value).count("instead of") == 1


def test_files_that_are_no_generator_say_what_they_are(tmp_path):
    with pytest.raises(FaceVeilError, match="no generator at"):
        load_generator(tmp_path / "none.pkl")
    (tmp_path / "lfs.pkl").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(FaceVeilError, match="git lfs pull"):
        load_generator(tmp_path / "lfs.pkl")
    (tmp_path / "g.onnx").write_bytes(b"x")
    with pytest.raises(FaceVeilError, match=r"not \.onnx"):
        load_generator(tmp_path / "g.onnx")
    for name in ("g.pkl", "g.pt", "g.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x02nothing of the kind")
        with pytest.raises(FaceVeilError, match=name):
            load_generator(tmp_path / name)
    (tmp_path / "text.pt").write_bytes(b"hello")
    with pytest.raises(FaceVeilError, match="is a text, not weights"):
        load_generator(tmp_path / "text.pt")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps({"a": 1, "b": 2}))
    with pytest.raises(FaceVeilError, match=r"no entry G_ema .*found: a, b"):
        load_generator(tmp_path / "list.pkl")
    torch.save({"state_dict": {}}, tmp_path / "state.pt")
    with pytest.raises(FaceVeilError, match=r"no entry g_ema .*found: state_dict"):
        load_generator(tmp_path / "state.pt")


def test_a_track_without_generator_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(files, "SHIPPED", tmp_path / "shipped")
    with pytest.raises(FaceVeilError, match=r"generator train --track faces-112 --data PATH"):
        for_track("faces-112", 112)
    with pytest.raises(FaceVeilError, match=r"generator train --track synthetic-64"):
        for_track("synthetic-quick", 48)
    trained = files.trained_here("synthetic-64")
    save_generator(small(), trained)
    assert for_track("synthetic-64", 64) == for_track("synthetic-quick", 48) == trained
    save_generator(small(), tmp_path / "shipped" / "synthetic-64.safetensors")
    assert for_track("synthetic-64", 64) == tmp_path / "shipped" / "synthetic-64.safetensors"


def test_early_files_without_noise_maps(tmp_path):
    state = {
        name: tensor
        for name, tensor in random_tensors(shapes_of_rosinality(64, **SMALL)).items()
        if not name.startswith("noises.")
    }
    torch.save({"g_ema": state}, tmp_path / "early.pt")
    with pytest.warns(UserWarning, match="drawn from seed 0"):
        first = load_generator(tmp_path / "early.pt")
    with pytest.warns(UserWarning, match="no noise maps"):
        second = load_generator(tmp_path / "early.pt")
    maps = {name: value for name, value in first.state_dict().items() if name.endswith("noise_const")}
    assert maps
    assert all(float(value.std()) > 0.3 for value in maps.values())
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in maps.items())
