from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.interfaces import BackboneSpec, Defense, FaceVeilError
from benchmark.models import backbones
from benchmark.models.heads import build_head
from benchmark.protocol.track import Budget, HeadSpec, InputSpec, Roles, Track, TrainingConfig
from benchmark.runtime import checkpoint
from benchmark.runtime.progress import TrainingProgress
from benchmark.training.pipeline import Trainer, seeded, train_backbone

SIZE = 32
SMALL = {"width": 0.125, "embedding_size": 16}
PEOPLE, PER_PERSON = 12, 3


@dataclass
class ArrayPhotos:
    images: torch.Tensor
    identity: np.ndarray
    digest: str = "planted"

    @property
    def keys(self):
        return [str(i) for i in range(len(self))]

    def __len__(self):
        return len(self.identity)

    def load(self, index):
        return self.images[torch.as_tensor(np.asarray(index))]

    def take(self, index):
        return ArrayPhotos(self.images[index], self.identity[index])


def planted(people: int = PEOPLE, per_person: int = PER_PERSON, seed: int = 0) -> ArrayPhotos:
    """A smooth pattern for each person, with noise; people have numbers with gaps, in no order."""
    generator = torch.Generator().manual_seed(seed)
    pattern = F.interpolate(torch.rand(people, 3, 4, 4, generator=generator), size=SIZE, mode="bilinear")
    images = pattern.repeat_interleave(per_person, 0) + 0.1 * torch.randn(
        people * per_person, 3, SIZE, SIZE, generator=generator
    )
    return ArrayPhotos((images.clamp(0, 1) * 255).byte(), np.repeat(np.arange(people)[::-1] * 5 + 2, per_person))


def config(**changes) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 6, "batch_size": 12, "lr": 0.05, "flip": True, **changes})


def trainer(
    settings: TrainingConfig,
    *,
    seed: int = 0,
    photos: ArrayPhotos | None = None,
    head: str = "arcface",
    dropout: float = 0.0,
    **kwargs,
) -> Trainer:
    photos = photos or planted()
    with seeded(seed):
        backbone = backbones.create("iresnet_slim", {**SMALL, "input_size": [SIZE, SIZE], "dropout": dropout})
    classes = len(np.unique(photos.identity))
    layer = build_head(HeadSpec(name=head), 16, classes, torch.Generator().manual_seed(seed))
    return Trainer(backbone, layer, photos, settings, InputSpec(size=(SIZE, SIZE)), seed=seed, **kwargs)


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("head", "optimizer", "lr"),
    [
        ("softmax", "sgd", 0.1),
        ("cosface", "sgd", 0.1),
        ("arcface", "sgd", 0.1),
        ("adaface", "sgd", 0.1),
        ("arcface", "adamw", 0.01),
    ],
)
def test_learns_the_planted_people(head, optimizer, lr):
    seen: list[TrainingProgress] = []
    run = trainer(config(optimizer=optimizer, lr=lr, epochs=10), head=head, progress=seen.append)
    run.run()
    assert seen == run.history
    assert [line.epoch for line in seen] == list(range(1, 11))
    assert seen[-1].loss < 0.5 * seen[0].loss
    assert seen[-1].accuracy > 0.8


def test_bf16_autocast_learns_too():
    run = trainer(config(autocast=True, epochs=6, lr=0.1))
    run.run()
    assert run.history[-1].loss < 0.5 * run.history[0].loss
    assert next(run.backbone.parameters()).dtype == torch.float32


def test_same_seed_same_weights_other_seed_others():
    runs = [trainer(config(epochs=2), seed=seed, dropout=0.2) for seed in (0, 0, 1)]
    state = torch.random.get_rng_state()
    for number, run in enumerate(runs):
        torch.manual_seed(100 + number)  # a global state that must not matter
        run.run()
    assert same_weights(runs[0].backbone, runs[1].backbone)
    assert same_weights(runs[0].head, runs[1].head)
    assert not same_weights(runs[0].backbone, runs[2].backbone)
    torch.random.set_rng_state(state)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(tmp_path, optimizer):
    settings = config(epochs=3, optimizer=optimizer, lr=0.01)
    whole = trainer(settings, dropout=0.2)
    whole.run()

    def interrupt(line: TrainingProgress) -> None:
        if line.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "work" / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        trainer(settings, dropout=0.2, checkpoint=path, progress=interrupt).run()
    resumed = trainer(settings, dropout=0.2, checkpoint=path)
    left: list[int] = []
    resumed.progress = lambda line: left.append(line.epoch)
    resumed.run()
    assert left == [3], "an epoch is saved before it is told"
    assert same_weights(whole.backbone, resumed.backbone)
    assert same_weights(whole.head, resumed.head)
    assert [(h.epoch, h.loss) for h in whole.history] == [(h.epoch, h.loss) for h in resumed.history]
    assert not list(path.parent.glob("*.partial"))
    again: list[TrainingProgress] = []
    finished = trainer(settings, dropout=0.2, checkpoint=path, progress=again.append)
    finished.run()
    assert not again, "a finished run is not trained again"
    assert same_weights(whole.backbone, finished.backbone)


def test_a_checkpoint_of_another_run_is_refused_and_a_damaged_one_is_made_again(tmp_path, caplog):
    path = tmp_path / "checkpoint.pt"
    trainer(config(epochs=1), checkpoint=path).run()
    for other in (trainer(config(epochs=2), checkpoint=path), trainer(config(epochs=1), seed=1, checkpoint=path)):
        with pytest.raises(FaceVeilError, match="another run"):
            other.run()
    photos = planted()
    photos.digest = "other"
    with pytest.raises(FaceVeilError, match="another run"):
        trainer(config(epochs=1), photos=photos, checkpoint=path).run()
    whole = path.read_bytes()
    flipped = whole[:-2000] + bytes([whole[-2000] ^ 4]) + whole[-1999:]
    for damaged in (b"half a file", whole[: len(whole) // 2], flipped):
        path.write_bytes(damaged)
        epochs: list[TrainingProgress] = []
        trainer(config(epochs=1), checkpoint=path, progress=epochs.append).run()
        assert len(epochs) == 1, "from the start"
    assert caplog.text.count("is damaged") == 3
    assert not [file.name for file in tmp_path.iterdir() if file.name.endswith((".partial", ".part"))]


def test_a_checkpoint_for_which_there_is_no_memory_is_kept(monkeypatch, tmp_path):
    path = tmp_path / "checkpoint.pt"
    trainer(config(epochs=1), checkpoint=path).run()

    def scarce(*_arguments, **_settings):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as full:
        full.setattr(torch, "load", scarce)
        with pytest.raises(RuntimeError, match="out of memory"):
            trainer(config(epochs=1), checkpoint=path).run()
    epochs: list[TrainingProgress] = []
    trainer(config(epochs=1), checkpoint=path, progress=epochs.append).run()
    assert not epochs, "it was trained already"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_checkpoint_that_does_not_fit_on_the_disk_is_an_error(monkeypatch, tmp_path):
    """Also where the few last bytes alone do not fit."""
    monkeypatch.setattr(checkpoint, "writing", lambda _path: nullcontext(Path("/dev/full")))
    with pytest.raises(OSError, match="No space left"):
        trainer(config(epochs=1), checkpoint=tmp_path / "checkpoint.pt").run()


def test_extra_state_of_a_defence_comes_back(tmp_path):
    path = tmp_path / "checkpoint.pt"
    first = trainer(config(), checkpoint=path)
    optimizer = torch.optim.SGD(first.backbone.parameters(), lr=0.1)
    assert first.load_checkpoint(optimizer) is None
    first.epoch = 3
    first.provenance["epsilon"] = 2.5
    first.save_checkpoint(optimizer, {"steps": 7})
    second = trainer(config(), checkpoint=path)
    assert second.load_checkpoint(torch.optim.SGD(second.backbone.parameters(), lr=0.1)) == {"steps": 7}
    assert second.epoch == 3
    assert second.provenance == {"epsilon": 2.5}


def test_stopped_early_is_a_prefix_and_goes_on():
    stopped, whole = trainer(config()), trainer(config())
    stopped.run(3)
    assert stopped.epoch == 3
    whole.run()
    assert [h.loss for h in stopped.history] == [h.loss for h in whole.history[:3]]
    stopped.run()
    assert same_weights(stopped.backbone, whole.backbone)
    with pytest.raises(FaceVeilError, match="asked to train 7 epochs"):
        trainer(config()).run(7)


def test_rate_warms_up_and_falls_to_zero():
    run = trainer(config(epochs=10, warmup_epochs=2, lr=0.4))
    rates = [run.lr_at(step) for step in range(run.step_count())]
    warm = 2 * run.steps_per_epoch()
    assert rates[0] == pytest.approx(0.4 / warm)
    assert rates[warm - 1] == rates[warm] == pytest.approx(0.4)
    assert all(a >= b for a, b in zip(rates[warm:], rates[warm + 1 :], strict=False))
    assert rates[-1] < 0.01 * 0.4


@pytest.mark.parametrize(("photos", "batch_size", "sizes"), [(33, 8, [8] * 4), (34, 8, [8, 8, 8, 8, 2]), (16, 8, [8, 8])])
def test_every_epoch_is_another_permutation_and_a_last_single_photo_is_dropped(photos, batch_size, sizes):
    run = trainer(config(batch_size=batch_size), photos=planted(photos, 1))
    first, second = run.batches(0), run.batches(1)
    assert [len(batch) for batch in first] == sizes
    assert len(first) == run.steps_per_epoch()
    assert len(set(np.concatenate(first))) == sum(sizes)
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert np.array_equal(np.concatenate(first), np.concatenate(run.batches(0)))


def test_people_become_classes_in_order_and_flips_follow_the_photo_not_the_batch():
    photos = planted()
    run = trainer(config(), photos=photos)
    order = np.argsort(np.unique(photos.identity))
    assert np.array_equal(np.unique(photos.identity)[run.labels.numpy()], photos.identity)
    assert run.labels.max() == len(order) - 1
    together, _ = run.batch(np.arange(36), epoch=0)
    alone, labels = run.batch(np.array([20]), epoch=0)
    assert torch.equal(together[20], alone[0])
    assert labels.tolist() == [run.labels[20]]
    plain, _ = trainer(config(flip=False), photos=photos).batch(np.arange(36), epoch=0)
    flipped = [not torch.equal(a, b) for a, b in zip(together, plain, strict=True)]
    assert 5 < sum(flipped) < 31
    assert all(torch.equal(together[i], plain[i].flip(-1)) for i, f in enumerate(flipped) if f)


def test_no_decay_on_norms_biases_and_slopes():
    run = trainer(config(epochs=1))
    run.run()
    decayed, free = (group["params"] for group in run.optimizer.param_groups)
    assert {p.dim() for p in decayed} == {2, 4}
    assert {p.dim() for p in free} == {1}
    trainable = [p for m in (run.backbone, run.head) for p in m.parameters() if p.requires_grad]
    assert len(decayed) + len(free) == len(trainable)


class Explode(Defense):
    name: ClassVar[str] = "explode"
    family: ClassVar[str] = "training"

    def loss(self, loss, batch, trainer):
        return loss * float("nan")


def test_nan_names_the_epoch_and_remedies():
    with pytest.raises(FaceVeilError, match=r"nan in epoch 1: lower training\.lr"):
        trainer(config(), defense=Explode()).run()


def test_one_photo_is_too_few():
    with pytest.raises(FaceVeilError, match="at least 2 photos"):
        trainer(config(), photos=planted(1, 1))


def track(**changes) -> Track:
    return Track(
        name="tiny",
        summary="a test",
        source="synthetic",
        image_size=SIZE,
        roles=Roles(pool=2, photos=2, verification=1, auxiliary=1, judges=1),
        backbone=BackboneSpec(name="iresnet_slim", kwargs=SMALL),
        training=config(epochs=2, **changes),
        attacks=(),
        budget=Budget(cpu_minutes=1),
    )


class Stages(Defense):
    """Leaves a trace at every stage."""

    name: ClassVar[str] = "stages"
    family: ClassVar[str] = "training"
    order: ClassVar[list[str]] = []

    def prepare(self, backbone):
        self.order.append("prepare")
        return backbone

    def configure(self, config):
        return config.model_copy(update={"weight_decay": 0.25})

    def modules(self, trainer):
        return {"stages": torch.nn.Linear(trainer.embedding_size, trainer.classes)}

    def watched(self, backbone):
        return ("layer2",)

    def transform_batch(self, batch, trainer):
        assert trainer.config.weight_decay == 0.25
        batch.notes["stages"] = batch.step
        return replace(batch, inputs=batch.inputs.flip(-1))

    def embed(self, embeddings, batch, trainer):
        return embeddings * 2

    def loss(self, loss, batch, trainer):
        logits, labels = batch.logits, batch.labels
        assert batch.notes["stages"] == batch.step == batch.epoch * trainer.steps_per_epoch() + batch.step % 3
        assert batch.features["layer2"].shape[:2] == (len(labels), 16)
        torch.testing.assert_close(logits, trainer.head(2 * batch.embeddings, labels), equal_nan=True)
        torch.testing.assert_close(batch.inputs, trainer.batch(batch.index, batch.epoch)[0].flip(-1))
        assert torch.backends.cudnn.enabled
        assert torch.backends.cudnn.deterministic
        assert loss.shape == labels.shape
        assert logits.shape == (len(labels), PEOPLE)
        return 0.5 * loss + trainer.extra["stages"](batch.embeddings).square().mean()

    def fit(self, trainer):
        self.order.append("fit")
        trainer.provenance["note"] = "fitted"
        trainer.run()

    def release(self, backbone, context):
        assert not backbone.training
        assert len(context.photos) == PEOPLE * PER_PERSON
        self.order.append(f"release {context.seed} {context.public is None} {context.input.size}")
        context.provenance["released"] = "noted"
        with torch.no_grad():
            backbone.features.running_mean.fill_(9.0)
        return backbone


def test_train_backbone_runs_every_stage_and_says_how_to_rebuild_it(tmp_path):
    Stages.order.clear()
    model = train_backbone(track(), Stages(), planted(), seed=4, work=tmp_path)
    assert Stages.order == ["prepare", "fit", "release 4 True (32, 32)"]
    assert model.provenance == {"note": "fitted", "released": "noted"}
    assert model.embedding_size == 16
    assert (model.backbone.features.running_mean == 9).all()
    assert not model.backbone.training
    assert len(model.history) == 2
    assert model.seconds > 0
    rebuilt = backbones.create(model.spec.name, model.spec.kwargs)
    rebuilt.load_state_dict(model.backbone.state_dict())
    assert (tmp_path / "checkpoint.pt").exists()
    again = train_backbone(track(), Stages(), planted(), seed=4, work=tmp_path)
    assert same_weights(model.backbone, again.backbone)


def test_fine_tuning_starts_from_the_given_weights():
    first = train_backbone(track(), Defense(), planted(), seed=0)
    state = {key: value.clone() for key, value in first.backbone.state_dict().items()}
    still = track(lr=1e-12, weight_decay=0.0)
    tuned = train_backbone(still, Defense(), planted(), seed=1, init=state)
    assert torch.allclose(tuned.backbone.conv1.weight, state["conv1.weight"], atol=1e-6)
    del state["conv1.weight"]
    state["fc.bias"] = torch.zeros(3)
    with pytest.raises(FaceVeilError, match=r"missing conv1\.weight; fc\.bias is \(3,\), needed \(16,\)"):
        train_backbone(track(), Defense(), planted(), seed=1, init=state)


class Exchange(Defense):
    name: ClassVar[str] = "exchange"
    family: ClassVar[str] = "architecture"

    def prepare(self, backbone):
        return backbone.model_copy(update={"kwargs": {**backbone.kwargs, "norm": "group"}})


def test_batchnorm_weights_can_be_fine_tuned_without_their_statistics():
    first = train_backbone(track(), Defense(), planted(), seed=0)
    still = track(lr=1e-12, weight_decay=0.0)
    tuned = train_backbone(still, Exchange(), planted(), seed=1, init=first.backbone.state_dict())
    assert isinstance(tuned.backbone.bn1, torch.nn.GroupNorm)
    assert tuned.spec.kwargs["norm"] == "group"
    assert torch.allclose(tuned.backbone.bn1.weight, first.backbone.bn1.weight, atol=1e-6)
    with pytest.raises(FaceVeilError, match="unexpected stem"):
        train_backbone(still, Exchange(), planted(), seed=1, init={**first.backbone.state_dict(), "stem": torch.zeros(1)})


def test_other_timm_models_train():
    tiny = track().model_copy(update={"backbone": BackboneSpec(name="resnet10t")})
    model = train_backbone(tiny, Defense(), planted(4, 2), seed=0)
    assert model.spec.kwargs == {}
    assert model.embedding_size == 512


class WantsPublic(Defense):
    name: ClassVar[str] = "wants_public"
    family: ClassVar[str] = "training"
    needs_public: ClassVar[bool] = True


def test_missing_public_faces_are_named():
    with pytest.raises(FaceVeilError, match=r"wants_public.*needs public faces"):
        train_backbone(track(), WantsPublic(), planted(), seed=0)
