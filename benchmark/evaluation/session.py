"""One track on this installation: its photos, its caches, its device; training and evaluation made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.data.populations import Populations, open_populations
from benchmark.evaluation.audit.canaries import Canaries, canary_path, write_canaries
from benchmark.evaluation.inversion.attack_runner import InversionRunner
from benchmark.evaluation.inversion.judgement import InversionEvaluation
from benchmark.evaluation.inversion.lpips import Lpips
from benchmark.evaluation.inversion.panel import Panel, open_panel
from benchmark.evaluation.standard import Evaluation
from benchmark.evaluation.verified import note_trained_here
from benchmark.interfaces import AttackSpec, BackboneSpec, FaceGenerator, FaceVeilError
from benchmark.protocol.registry import service
from benchmark.protocol.track import Track
from benchmark.protocol.tracks import get_track
from benchmark.runtime.executor import Engine
from benchmark.runtime.home import cache_dir
from benchmark.runtime.progress import Progress
from benchmark.submissions.submission import Submission
from benchmark.training.build import make_submission
from benchmark.training.composition import Defenses, compose

if TYPE_CHECKING:
    from benchmark.records.record import Record


def open_track_data(track: str, data: Path | None) -> Populations:
    """The photos of a track by name, with this installation's cache."""
    return open_populations(get_track(track), data, cache_dir() / "photos")


class Session:
    """Trains and evaluates entries of one track.

    Args:
        data: aligned faces, for tracks that read some.
        init: weights that training, and the shadows of fine-tuned entries, start from.
        engine: where missing shadows are trained; default in this process.
    """

    def __init__(
        self,
        track: Track,
        data: Path | None,
        device: torch.device | str,
        *,
        init: Submission | None = None,
        progress: Progress,
        engine: Engine | None = None,
    ) -> None:
        progress.step("opening the photos")
        self.cache = cache_dir()
        self.populations = open_populations(track, data, self.cache / "photos")
        self.device = device
        self.init = init
        self.progress = progress
        self.engine = engine or Engine()

    def train(
        self,
        defense: Defenses,
        seed: int,
        out: Path,
        card: Mapping[str, Any] | None = None,
        backbone: BackboneSpec | None = None,
        canaries: Canaries | None = None,
    ) -> Submission:
        """Trains on the members' seen photos and writes a submission; notes that these weights were trained here.

        Args:
            defense: one spec, or several that are composed in their order.
            card: more fields of the card.
            backbone: instead of the track's.
            canaries: mixed into the training set; which of them were trained on is written beside the submission.
        """
        seen = self.populations.seen
        card = dict(card or {}) | ({"canaries": canaries.note} if canaries else {})
        self.progress.step(f"training {compose(defense).label}")
        submission = make_submission(
            self.populations,
            defense,
            canaries.training_set(seen) if canaries else seen,
            seed=seed,
            out=out,
            work=self.cache / "training",
            backbone=backbone,
            init=self.init,
            device=self.device,
            card=card,
            progress=self.progress.training,
        )
        note_trained_here(self.cache, submission, self.populations)
        if canaries is not None:
            write_canaries(canary_path(out), canaries, submission, self.populations)
        return submission

    def evaluate(self, submission: Submission, attacks: Sequence[AttackSpec] | None = None) -> Record:
        """The track's evaluation; see :class:`benchmark.evaluation.standard.Evaluation`."""
        return Evaluation(
            submission,
            self.populations,
            self.cache,
            device=self.device,
            init=self.init,
            step=self.progress.step,
            training=self.progress.training,
            engine=self.engine,
        ).run(attacks)

    def panel(self, judges: Sequence[Submission] = ()) -> Panel:
        """The track's judges, trained where they are missing, and further ones; see
        :mod:`benchmark.evaluation.inversion.panel`.
        """
        return open_panel(
            self.populations,
            self.cache,
            device=self.device,
            extra=judges,
            step=self.progress.step,
            training=self.progress.training,
        )

    def inversion(
        self,
        submission: Submission,
        *,
        generator: Path | None = None,
        judges: Sequence[Submission] = (),
        targets: int | None = None,
        reconstructions: int | None = None,
        lpips: Path | None = None,
    ) -> InversionEvaluation:
        """Inversion attacks on a submission, ready to run.

        Args:
            generator: a file of the attacker's own instead of the track's generator.  Without any, attacks that need one are
                not applicable.
            judges: beside the track's.
            targets, reconstructions: fewer than the track's budget, for a quick look.
            lpips: torchvision's AlexNet weights; without them LPIPS is not measured.
        """
        looks = Lpips(lpips, self.device) if lpips is not None else None  # first, so that a wrong file costs nothing
        track = self.populations.track
        made, name, digest = self._generator(generator)
        rebuilder = InversionRunner(
            submission,
            self.populations,
            self.cache,
            seed=track.split_seed,
            chunk=track.inversion_budget.chunk,
            device=self.device,
            generator=made,
            generator_digest=digest,
            init=self.init,
            step=self.progress.step,
            training=self.progress.training,
        )
        return InversionEvaluation(rebuilder, self.panel(judges), targets, reconstructions, name, looks)

    def _generator(self, path: Path | None) -> tuple[FaceGenerator | None, str, str]:
        track = self.populations.track
        try:
            return service("generator")(track.name, track.image_size, path, self.device)
        except FaceVeilError as error:
            if path is not None:
                raise
            return None, str(error), ""
