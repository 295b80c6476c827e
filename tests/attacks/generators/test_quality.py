from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from photo_arrays import target_of
from PIL import Image
from tiny_generator import TinyGenerator
from tiny_world import FLOW
from torch import nn
from typer.testing import CliRunner

from attacks.generators import commands, quality
from attacks.generators.quality import distributions, probes, project, recognition
from attacks.generators.stylegan2 import Generator
from benchmark.cli.app import app
from benchmark.data.populations import HELD_OUT, open_populations
from benchmark.evaluation.inversion.panel import Calibration, Judge, Panel
from benchmark.interfaces import Access, FaceVeilError
from benchmark.records.results import Metric


class Components(TinyGenerator):
    """Principal components, with the seeded latents that samples are drawn from."""

    def latents(self, count, seed):
        return torch.randn(count, self.z_dim, generator=torch.Generator().manual_seed(seed))

    def images(self, ws, _noise="const"):
        return super().images(ws)


@pytest.fixture(scope="module")
def populations(tmp_path_factory):
    return open_populations(FLOW, cache=tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def generator(populations):
    return Components(populations.auxiliary, size=30)


def pixel_judge(name="pixels", tar=0.9, side=4):
    """Recognises by coarse pixels, about their mean."""
    net = nn.Sequential(nn.AvgPool2d(32 // side), nn.Flatten(), nn.LayerNorm(3 * side**2, elementwise_affine=False))
    metrics = {far: Metric(value=tar, n=10, note="too few pairs") for far in ("1e-2", "1e-3", "1e-4")}
    calibration = Calibration(dict.fromkeys(metrics, 0.95), metrics)
    return Judge(name, target_of(net, Access.EMBEDDING, size=32), calibration, "nobody", name)


def test_people_are_held_out_and_their_photos_are_not_in_the_gallery(populations):
    known = probes(populations, 5)
    held_out = set(np.asarray(populations.queried.identity)[populations.side == HELD_OUT].tolist())
    assert len(known.photos) == 5
    assert set(np.asarray(known.photos.identity).tolist()) <= held_out
    assert set(known.targets.gallery.tolist()) == held_out, "everybody held out, not only those asked about"
    assert not set(known.photos.keys) & set(known.gallery.keys)
    assert len(probes(populations, 10_000).photos) == len(held_out)


def test_faces_that_the_generator_draws_are_found_again():
    torch.manual_seed(0)
    generator = Generator(8, z_dim=8, w_dim=8, mapping_layers=1, channel_base=128, channel_max=8).eval().requires_grad_(False)
    with torch.no_grad():
        wanted = generator.images(generator.mapping(generator.latents(3, seed=1)))
    start = project(generator, wanted, steps=1, lr=1e-9)
    found = project(generator, wanted, steps=60)
    assert (found - wanted).square().mean() < 0.3 * (start - wanted).square().mean()
    assert torch.equal(found, project(generator, wanted, steps=60))


def test_faces_of_another_size_are_resized_to_be_projected(generator):
    assert project(generator, torch.rand(2, 3, 48, 48), steps=1).shape == (2, 3, 32, 32)


def test_a_generator_of_such_faces_lies_nearer_to_them_than_noise(populations, generator, monkeypatch):
    judge = pixel_judge(side=2)
    good = distributions(generator, [judge], populations)["pixels"]
    monkeypatch.setattr(quality, "sample", lambda _g, count, _seed: torch.rand(count, 3, 32, 32))
    noise = distributions(generator, [judge], populations)["pixels"]
    assert good["fid"].value < 0.5 * noise["fid"].value
    assert 0 < good["floor"].value == noise["floor"].value
    assert good["coverage"].value > noise["coverage"].value


def test_photos_are_recognised_and_noise_is_not(populations):
    known = probes(populations, 12)
    judges = [pixel_judge("coarse"), pixel_judge("fine", side=8)]
    photos = known.photos.load(np.arange(12))
    own = recognition(photos, known, judges)
    assert own["type1_tar@far=1e-2"].value == 1
    assert own["rank1"].value > recognition(torch.rand(photos.shape), known, judges)["rank1"].value


def checked(monkeypatch, generator, panel, track=FLOW, **options):
    monkeypatch.setattr(commands, "open_generator", lambda *_args: (generator, "a generator, 32 px", "0" * 64))
    monkeypatch.setattr(commands, "open_panel", lambda *_args, **_options: panel)
    report = type("Log", (), {"step": lambda self, text: None})()
    values = {"judges": (), "people": 4, "steps": 20, "picture": None, "device": "cpu", "report": report, **options}
    return commands.check(track, None, None, **values)


@pytest.mark.usefixtures("fresh_home")
def test_the_check_reports_and_draws(monkeypatch, tmp_path, generator):
    panel = Panel((pixel_judge("coarse"), pixel_judge("unfit", tar=0.1)))
    found = checked(monkeypatch, generator, panel)
    assert found["judges"] == ["coarse"], "only judges that can recognise are asked"
    assert set(found["distribution"]["coarse"]) >= {"fid", "floor", "precision", "recall"}
    assert set(found["projection"]) == {"projected", "random", "photo"}
    assert (found["people"], found["gallery"]) == (4, 12)
    with monkeypatch.context() as patch:
        patch.setattr(commands, "check", lambda *_a, **_k: found)
        result = CliRunner().invoke(app, ["generator", "check", "--track", "synthetic-64", "--device", "cpu"])
        printed = CliRunner().invoke(app, ["generator", "check", "--track", "synthetic-64", "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    assert "projected" in result.stdout
    assert "chance of rank 1: 0.0833" in result.stdout
    assert json.loads(printed.stdout)["rmse"] == found["rmse"]
    picture = tmp_path / "p.png"
    with pytest.raises(FaceVeilError, match="real people"):
        checked(monkeypatch, generator, panel, picture=picture)
    checked(monkeypatch, generator, panel, picture=picture, track=FLOW.model_copy(update={"shows_faces": True}))
    with Image.open(picture) as image:
        assert image.size == (16 * 32 * 2, 1 * 32 * 2)


@pytest.mark.usefixtures("fresh_home")
def test_without_a_judge_there_is_no_check(monkeypatch, generator):
    with pytest.raises(FaceVeilError, match="no judge of track 'tiny-flow'"):
        checked(monkeypatch, generator, Panel((pixel_judge(tar=0.1),)))
