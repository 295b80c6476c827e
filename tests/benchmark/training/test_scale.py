from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spread_training
import torch
from record_files import record_set
from spread_training import CONFIG, WAYS, outcome, trainer

from benchmark.data.readers.recordio import open_records
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import HeadSpec, TrainingConfig
from benchmark.runtime.seeding import weights_digest
from benchmark.training.loop import Trainer, build_optimizer
from benchmark.training.scale import GROUP_VERSION, Group, PhotoLoader, Scale, scaled, spread


def curve(run) -> list[float]:
    run.run()
    return [line.loss for line in run.history]


@pytest.mark.slow
def test_two_processes_draw_the_loss_curve_of_one(tmp_path: Path) -> None:
    """Without BatchNorm, and with it: its statistics are those of the whole batch, not of what a process holds.  So under
    defences with loops of their own, which are the plain one inside.
    """
    out, here = tmp_path / "curve.json", Path(spread_training.__file__)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(here), str(out)]
    paths = [str(here.parents[1]), str(here.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment, timeout=300)
    assert found.returncode == 0, found.stderr[-2000:]
    spread = json.loads(out.read_text())
    assert spread["size"] == 2
    for way in WAYS:
        first, second = spread[way]
        alone = outcome(way)
        assert first == second, way
        assert first["curve"] == pytest.approx(alone["curve"], rel=1e-4)
        assert first["sums"] == pytest.approx(alone["sums"], rel=1e-3, abs=1e-3)  # running statistics among them
        assert alone["curve"][-1] < alone["curve"][0]


def test_a_batch_in_parts_draws_the_same_curve() -> None:
    assert curve(trainer(scale=Scale(accumulate=4))) == pytest.approx(curve(trainer()), rel=1e-5)


def test_parts_of_all_processes_are_the_batch() -> None:
    index = np.arange(37)
    parts = [part for rank in range(3) for part in Group(rank, 3).parts(index, 2)]
    assert len(parts) == 6
    assert np.array_equal(np.concatenate(parts), index)


def test_a_batch_too_small_for_its_parts_is_refused() -> None:
    with pytest.raises(FaceVeilError, match="16 photos cannot be spread over 1 processes in 9 parts"):
        trainer(scale=Scale(accumulate=9))


class Stopped(Exception):
    pass


def dies_after(steps: int, run: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a run take so many steps, and die in the middle of the next."""
    left = [steps]

    def dying(*arguments, **keywords):
        left[0] -= 1
        if left[0] < 0:
            raise Stopped
        return forward(*arguments, **keywords)

    forward = run._forward
    monkeypatch.setattr(run, "_forward", dying)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_run_killed_within_an_epoch_resumes_as_if_it_had_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    whole = trainer("batch", dropout=0.3)
    whole.run()
    scale = Scale(checkpoint_steps=steps)
    for left in (4, 4, 3):  # steps until it dies
        run = trainer("batch", dropout=0.3, scale=scale, checkpoint=tmp_path / "checkpoint.pt")
        dies_after(left, run, monkeypatch)
        with pytest.raises(Stopped):
            run.run()
    run = trainer("batch", dropout=0.3, scale=scale, checkpoint=tmp_path / "checkpoint.pt")
    run.run()
    assert weights_digest(run.backbone) == weights_digest(whole.backbone)
    assert weights_digest(run.head) == weights_digest(whole.head)
    assert [line.loss for line in run.history] == [line.loss for line in whole.history]
    assert [line.accuracy for line in run.history] == [line.accuracy for line in whole.history]


def test_other_processes_cannot_resume_within_an_epoch(tmp_path: Path) -> None:
    run = trainer(scale=Scale(checkpoint_steps=2), checkpoint=tmp_path / "checkpoint.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "finish_epoch", lambda *_a, **_k: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            run.run()
    again = trainer(scale=Scale(checkpoint_steps=2), checkpoint=tmp_path / "checkpoint.pt")
    again.group = Group(0, 2)
    with pytest.raises(FaceVeilError, match="by 1 processes, and 2 resume"):
        again.run()


def test_photos_arrive_in_the_order_asked_for_whoever_decodes_them(tmp_path: Path) -> None:
    photos = open_records(record_set(tmp_path / "a"), 16)
    order = [np.array([5, 0, 17]), np.array([23]), np.array([2, 2])]
    loader = PhotoLoader(photos, 2)
    for _ in range(2):  # its processes are kept
        for index, found in zip(order, loader.batches(order), strict=True):
            assert torch.equal(found, photos.load(index))


def test_the_sampled_head_asks_for_the_labels_and_some_others() -> None:
    run = trainer(sample=0.5)
    labels = torch.tensor([3, 19, 3])
    run.head.draw(labels, torch.Generator().manual_seed(0))
    assert run.head.drawn is not None
    assert len(run.head.drawn) == 10
    assert (run.head.drawn[run.head.places(labels)] == labels).all()
    embeddings = torch.randn(3, 16)
    sampled = run.head(embeddings, run.head.places(labels))
    drawn, run.head.drawn = run.head.drawn, None
    assert torch.allclose(sampled, run.head(embeddings, labels)[:, drawn])
    assert run.head.cosine_logits(embeddings).shape == (3, 20)


def test_training_with_a_sampled_head_learns() -> None:
    config = CONFIG.model_copy(update={"epochs": 12})
    losses = curve(run := trainer(sample=0.4, config=config))
    assert losses[-1] < 0.5 * losses[0]
    assert run.head.drawn is None


def test_settings_added_later_change_no_name() -> None:
    assert "sample" not in HeadSpec().model_dump()
    assert HeadSpec(sample=0.1).model_dump()["sample"] == 0.1
    assert HeadSpec(**HeadSpec(sample=0.1).model_dump()) == HeadSpec(sample=0.1)
    assert set(TrainingConfig().model_dump()) == {
        "epochs", "batch_size", "optimizer", "lr", "momentum", "weight_decay", "warmup_epochs", "clip_norm", "flip", "autocast"
    }  # fmt: skip


def test_what_several_processes_left_behind_is_not_gone_on_with_once_they_train_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of two processes from when each normalised by its own part; one of a single process stays good."""
    monkeypatch.setattr(Group, "current", staticmethod(lambda: Group(0, 2)))
    monkeypatch.setattr(Group, "key", ())  # as names were then
    before = trainer("batch", checkpoint=tmp_path / "two.pt")
    before.save_checkpoint(build_optimizer(before.config, before.backbone, before.head))
    monkeypatch.undo()
    monkeypatch.setattr(Group, "current", staticmethod(lambda: Group(0, 2)))
    with pytest.raises(FaceVeilError, match="is of another run"):
        trainer("batch", checkpoint=tmp_path / "two.pt").run()
    assert (Group().key, Group(1, 2).key) == ((), (GROUP_VERSION,))


def test_weights_of_cut_batches_have_names_and_checkpoints_of_their_own(tmp_path: Path) -> None:
    assert spread() == {}
    with scaled(Scale(accumulate=2, loaders=3)):
        assert spread() == {"accumulate": 2}
    run = trainer("batch", checkpoint=tmp_path / "checkpoint.pt")
    run.run(1)
    other = trainer("batch", checkpoint=tmp_path / "checkpoint.pt", scale=Scale(accumulate=2))
    with pytest.raises(FaceVeilError, match="is of another run"):
        other.run()
    finer = trainer("batch", checkpoint=tmp_path / "checkpoint.pt", scale=Scale(checkpoint_steps=2))
    finer.run(2)  # nothing but when it is written
    assert finer.epoch == 2
