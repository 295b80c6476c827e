from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from published_generators import SMALL, random_tensors, shapes_of_nvlabs, write_nvlabs
from tiny_world import FLOW
from typer.testing import CliRunner

from attacks.generators import commands
from attacks.generators.files import load_generator, trained_here
from attacks.generators.sampling import sample, write_grid
from attacks.generators.stylegan2 import Generator
from benchmark.cli.app import app
from benchmark.interfaces import FaceVeilError
from benchmark.training.build import make_untrained

SETTINGS = {
    "resolution": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 1, "channel_base": 64, "channel_max": 8,
    "discriminator_base": 64, "discriminator_max": 8, "warmup_images": 16, "images": 32, "batch_size": 8,
}  # fmt: skip


class Log:
    def __init__(self):
        self.lines = []

    def step(self, text):
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVEIL_HOME", str(tmp_path / "home"))


def run(features_of, out=None, seed=4, log=None):
    return commands.train(
        FLOW, None, out=out, seed=seed, settings=SETTINGS, features_of=features_of, every=24, device="cpu", report=log or Log()
    )


def test_training_leaves_a_generator_with_its_story_and_pictures(tmp_path):
    make_untrained(FLOW, tmp_path / "weights")
    features_of = next((tmp_path / "weights").glob("[!.]*"))
    log = Log()
    report = run(str(features_of), log=log)
    generator = load_generator(trained_here(FLOW.name))
    assert generator.resolution == 8
    assert generator.metadata["seed"] == "4"
    assert generator.metadata["command"].startswith("faceveil generator train --track tiny-flow --seed 4 --set resolution=8")
    assert "--set images=32" in generator.metadata["command"]
    assert float(generator.metadata["fid"].split()[0]) > 0
    pictures = sorted(Path(report["pictures"]).glob("*.png"))
    assert [p.stem for p in pictures] == ["00000024", "00000048"]
    assert any("FID on our features" in line for line in log.lines)


def test_the_same_command_makes_the_same_file_and_another_seed_another(tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    run("none", first)
    report = run("none", second)  # goes on from a finished checkpoint
    assert load_generator(first).state_dict().keys() == load_generator(second).state_dict().keys()
    for name, value in load_generator(first).state_dict().items():
        assert torch.equal(value, load_generator(second).state_dict()[name]), name
    assert "fid" not in report
    run("none", tmp_path / "c.safetensors", seed=5)
    assert not torch.equal(load_generator(tmp_path / "c.safetensors").w_avg, load_generator(first).w_avg)


def test_settings_that_do_not_exist_are_named():
    with pytest.raises(FaceVeilError, match=r"kimg.*Settings: resolution"):
        commands.configured(FLOW, {"kimg": 3})
    assert commands.configured(FLOW, {}).resolution == 32
    assert commands.configured(FLOW.model_copy(update={"image_size": 48}), {}).resolution == 32
    assert commands.configured(FLOW.model_copy(update={"image_size": 112}), {}).resolution == 64


def test_the_command_line_imports_and_draws(tmp_path):
    source = write_nvlabs(tmp_path / "net.pkl", random_tensors(shapes_of_nvlabs(16, **SMALL)))
    out = tmp_path / "net.safetensors"
    result = CliRunner().invoke(app, ["generator", "import", str(source), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["resolution"] == 16
    assert load_generator(out).metadata["imported_from"] == "net.pkl"
    again = CliRunner().invoke(app, ["generator", "import", str(source), "--out", str(out)])
    assert isinstance(again.exception, FaceVeilError)
    picture = tmp_path / "p.png"
    arguments = ["generator", "preview", str(out), "--out", str(picture), "--rows", "2", "--columns", "3"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "imported_from: net.pkl" in shown.stdout
    with Image.open(picture) as image:
        assert image.size == (3 * 16 * 8, 2 * 16 * 8)


def test_the_command_line_trains(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        commands, "train", lambda track, data, **options: seen.update(track=track.name, **options) or {"out": "x"}
    )
    arguments = ["generator", "train", "--track", "synthetic-64", "--set", "images=5", "--seed", "3", "--features", "none"]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert seen["track"] == "synthetic-64"
    assert seen["settings"] == {"images": 5}
    assert (seen["seed"], seen["features_of"], seen["out"]) == (3, "none", None)


def test_a_grid_is_row_by_row(tmp_path):
    images = torch.zeros(3, 3, 2, 2)
    images[1] = 1
    write_grid(images, 2, tmp_path / "g.png", scale=1)
    with Image.open(tmp_path / "g.png") as image:
        assert image.size == (4, 4)
        assert image.getpixel((2, 0)) == (255, 255, 255)
        assert image.getpixel((0, 2)) == image.getpixel((2, 2)) == (0, 0, 0)
    with pytest.raises(FaceVeilError, match="a grid needs"):
        write_grid(images[:0], 2, tmp_path / "g.png")


def test_samples_follow_from_the_seed_alone():
    generator = Generator(8, z_dim=8, w_dim=8, mapping_layers=1, channel_base=64, channel_max=8)
    assert torch.equal(sample(generator, 70, 1), sample(generator, 70, 1))  # more than one batch
    assert not torch.equal(sample(generator, 5, 1), sample(generator, 5, 2))
