"""The evaluator's panel: backbones that neither the attacker nor the target has anything to do with.

A reconstruction that only the attacked model recognises is an adversarial artefact.  So faces are judged by backbones of
other architectures, trained on the track's ``judges``, people who play no other role, each with thresholds calibrated on the
verification people.  They are made once and kept by content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.populations import Populations
from benchmark.evaluation.inversion.kinship import of_one_origin
from benchmark.evaluation.recognition import utility_metrics, verify_photos
from benchmark.interfaces import Access, BackboneSpec, Photos, canonical_json, content_hash
from benchmark.models.backbones import complete_kwargs
from benchmark.records.results import JudgeInfo, Metric
from benchmark.runtime.checked import intact, write_sealed
from benchmark.runtime.progress import ProgressCallback
from benchmark.signals.target import Target
from benchmark.submissions.package import is_packed
from benchmark.submissions.submission import Submission, load_submission
from benchmark.training.build import UNDEFENDED, make_submission

PANEL_VERSION = 1  # part of the calibration's name: raise it when a threshold changes its meaning
FARS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
MINIMUM_TAR = 0.5  # at FAR=1e-2: a judge that misses half of the genuine pairs cannot say who is shown
JUDGE_SEED = 2_000_000  # keeps judges apart from the seeds of entries and of shadows
BATCH = 128


@dataclass(frozen=True)
class Calibration:
    """What a backbone is worth on the verification people: cosine thresholds by FAR, and the TAR that they buy."""

    thresholds: Mapping[str, float | None]
    tar: Mapping[str, Metric]


@dataclass(frozen=True)
class Judge:
    """One evaluator.  ``trained_on`` says whom it knows; ``reason`` why it cannot judge, empty where it can."""

    name: str
    target: Target
    calibration: Calibration
    trained_on: str
    architecture: str

    @property
    def reason(self) -> str:
        """Why this judge is not eligible; empty where it is."""
        tar = self.calibration.tar["1e-2"]
        if tar.value is None:
            return f"its verification cannot be measured: {tar.note}"
        if tar.value < MINIMUM_TAR:
            return f"it recognises {tar.value:.0%} of genuine pairs at FAR=1e-2, {MINIMUM_TAR:.0%} are needed"
        return ""

    def embed(self, images: Tensor) -> np.ndarray:
        """Embeddings (N, D) of images, uint8 or float in [0, 1], as they are (not of unit length)."""
        return embed(self.target, images)

    def info(self) -> JudgeInfo:
        """The judge as it stands in a record."""
        return JudgeInfo(
            name=self.name,
            architecture=self.architecture,
            trained_on=self.trained_on,
            submission_id=self.target.submission_id,
            tar=dict(self.calibration.tar),
            usable=not self.reason,
            reason=self.reason,
        )


@dataclass(frozen=True)
class Panel:
    """The judges of a track."""

    judges: tuple[Judge, ...]

    @property
    def usable(self) -> tuple[Judge, ...]:
        """Those that can recognise people."""
        return tuple(j for j in self.judges if not j.reason)

    def eligible(self, attacked: Submission, *held: Submission) -> tuple[Judge, ...]:
        """The usable judges that have nothing to do with the attacked model, nor with encoders that the attacker holds."""
        return tuple(j for j in self.usable if not any(_related(j, known) for known in (attacked, *held)))

    def unranked(self, attacked: Submission, *held: Submission) -> tuple[str, ...]:
        """Why inversion results under this panel have no rank; empty where two independent judges agree on them.

        Independent: of different architectures, not the attacked model, its parent or its child, and not the attacker's own.
        """
        eligible = self.eligible(attacked, *held)
        if len({j.architecture for j in eligible}) >= 2:
            return ()
        silent = [f"{j.name}: {j.reason}" for j in self.judges if j.reason]
        silent += [f"{j.name}: the attacked model, or what it started from" for j in self.usable if _related(j, attacked)]
        silent += [f"{j.name}: the attacker's own encoder" for j in self.usable if any(_related(j, own) for own in held)]
        return (f"{len(eligible)} independent judge(s) of 2 needed" + (f" ({'; '.join(silent)})" if silent else ""),)


def _related(judge: Judge, attacked: Submission) -> bool:
    if attacked.card.initialised_from == judge.name or attacked.submission_id == judge.target.submission_id:
        return True
    return of_one_origin(judge.target.with_access(Access.WEIGHTS).backbone.state_dict(), attacked.weights)


def embed(target: Target, images: Tensor) -> np.ndarray:
    """Embeddings (N, D) float32 of images, in batches, on the target's device."""
    with torch.inference_mode():
        parts = [target.embed(images[i : i + BATCH]).float().cpu().numpy() for i in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def embed_photos(target: Target, photos: Photos) -> np.ndarray:
    """Embeddings (N, D) of photos, read in batches."""
    index = [np.arange(i, min(i + BATCH, len(photos))) for i in range(0, len(photos), BATCH)]
    return np.concatenate([embed(target, photos.load(part)) for part in index])


def calibrate(target: Target, populations: Populations, cache: Path) -> Calibration:
    """Thresholds on the verification people at every FAR of ``FARS``; computed once.

    Raises:
        FaceVeilError: embeddings that are zero or not finite.
    """
    photos = populations.verification
    name = content_hash(PANEL_VERSION, target.submission_id, target.input.model_dump(mode="json"), photos.digest)
    path = cache / "calibrations" / f"{name}.json"
    if not intact(path):
        result = verify_photos(target, photos, seed=populations.track.split_seed, cache=cache / "signals")
        metrics = utility_metrics(result)
        found = {
            "thresholds": {far: result.threshold.get(value) for far, value in FARS.items()},
            "tar": {far: metrics[f"tar@far={far}"].model_dump(mode="json") for far in FARS},
        }
        write_sealed(path, canonical_json(found))
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Calibration(data["thresholds"], {far: Metric(**m) for far, m in data["tar"].items()})


def open_panel(
    populations: Populations,
    cache: Path,
    *,
    device: torch.device | str = "cpu",
    extra: Sequence[Submission] = (),
    step: Callable[[str], None] = lambda _text: None,
    training: ProgressCallback | None = None,
) -> Panel:
    """The panel of a track, its judges trained where they are missing.

    On tracks of real faces, two or more ``extra`` judges are the panel: what can be trained on a few hundred people there
    recognises nobody.

    Args:
        extra: more judges, such as a public checkpoint; whoever names them vouches that they never saw the target's people.
    """
    judges = []
    strangers = populations.track.source == "folder" and len(extra) >= 2
    for number, spec in enumerate(() if strangers else populations.track.judges):
        step(f"judge {spec.name}")
        submission = _trained(populations, spec, number, cache / "judges", device, training)
        judges.append(_judge(submission, spec.name, "the track's judges", populations, cache, device))
    for submission in extra:
        step(f"judge {submission.card.name}")
        judges.append(_judge(submission, submission.card.name, "elsewhere", populations, cache, device))
    return Panel(tuple(judges))


def _judge(
    submission: Submission, name: str, trained_on: str, populations: Populations, cache: Path, device: torch.device | str
) -> Judge:
    target = Target(submission, Access.EMBEDDING, device)
    return Judge(name, target, calibrate(target, populations, cache), trained_on, _architecture(submission.card.backbone))


def _architecture(spec: BackboneSpec) -> str:
    """A name that differs between architectures; imported graphs share theirs, and differ by what they are made of."""
    return spec.name if spec.name != "graph" else f"graph {content_hash(dict(spec.kwargs), length=8)}"


def _trained(
    populations: Populations,
    spec: BackboneSpec,
    number: int,
    folder: Path,
    device: torch.device | str,
    progress: ProgressCallback | None,
) -> Submission:
    track = populations.track
    side = tuple(track.backbone.kwargs.get("input_size", (track.image_size, track.image_size)))
    spec = BackboneSpec(name=spec.name, kwargs=complete_kwargs(spec.name, {"input_size": side, **spec.kwargs}, side))
    track = track.model_copy(update={"training": track.judge_training or track.training, "needs_init": False})
    settings = track.settings("image_size", "head", "training")
    name = content_hash(settings, populations.judges.digest, spec.model_dump(mode="json"), number)
    path = folder / f"{spec.name}-{name}"
    if not is_packed(path):
        make_submission(
            replace(populations, track=track),
            UNDEFENDED,
            populations.judges,
            seed=JUDGE_SEED + number,
            out=path,
            work=folder,
            backbone=spec,
            device=device,
            card={"name": f"judge {spec.name}"},
            progress=progress,
        )
    return load_submission(path)
