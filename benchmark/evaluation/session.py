"""One track on this installation: its photos, its caches, its device; training and evaluation made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmark.data.populations import Populations, open_populations
from benchmark.evaluation.audit.canaries import Canaries, canary_path, write_canaries
from benchmark.evaluation.entry import EntryMaker, run_plan
from benchmark.evaluation.inversion.attack_runner import InversionRunner
from benchmark.evaluation.inversion.judgement import InversionEvaluation
from benchmark.evaluation.inversion.lpips import Lpips
from benchmark.evaluation.inversion.panel import Panel, open_panel
from benchmark.evaluation.membership.blind_gate import PIXELS
from benchmark.evaluation.membership.evidence import wants
from benchmark.evaluation.plan import Outline
from benchmark.evaluation.standard import Evaluation, Planned, Wanted, wanted_attacks
from benchmark.evaluation.verified import all_known, known_defenses, note_trained_here
from benchmark.interfaces import AttackSpec, BackboneSpec, FaceGenerator, FaceVeilError, Knowledge
from benchmark.protocol.registry import build_attacks, service
from benchmark.protocol.track import Track
from benchmark.protocol.tracks import get_track
from benchmark.runtime.executor import Engine
from benchmark.runtime.graph import Graph, Node
from benchmark.runtime.home import cache_dir
from benchmark.runtime.progress import Progress
from benchmark.submissions.submission import Submission, pack
from benchmark.training.build import make_submission
from benchmark.training.composition import Defenses, compose, specs_of
from benchmark.training.plan import TrainingPlan
from benchmark.training.population import Population
from benchmark.training.scale import spread
from benchmark.training.shadows import ShadowPool

if TYPE_CHECKING:
    from benchmark.records.record import Record


def open_track_data(track: str, data: Path | None, public: Path | None = None) -> Populations:
    """The photos of a track by name, with this installation's cache."""
    return open_populations(get_track(track), data, cache_dir() / "photos", public)


class Session:
    """Trains and evaluates entries of one track.

    Args:
        data: aligned faces, for tracks that read some.
        init: weights that training, and the shadows of fine-tuned entries, start from.
        public: aligned faces that defences may train on besides members, instead of the track's own public people.
        engine: where missing shadows are trained; default in this process.
    """

    def __init__(
        self,
        track: Track,
        data: Path | None,
        device: torch.device | str,
        *,
        init: Submission | None = None,
        public: Path | None = None,
        progress: Progress,
        engine: Engine | None = None,
    ) -> None:
        progress.step("opening the photos")
        self.cache = cache_dir()
        self.populations = open_populations(track, data, self.cache / "photos", public)
        self.device = device
        self.init = init
        self.progress = progress
        self.engine = engine or Engine()

    def train(
        self,
        defense: Defenses,
        seed: int,
        out: Path,
        *,
        card: Mapping[str, Any] | None = None,
        backbone: BackboneSpec | None = None,
        canaries: Canaries | None = None,
        number: int = 0,
    ) -> Submission:
        """Trains backbone ``number`` of an entry and writes a submission; notes that these weights were trained here.

        The entry's population keeps the weights, so that its evaluation trains no backbone twice.  Another seed than the
        population's (the number), or canaries, make a backbone of its own.

        Args:
            defense: one spec, or several that are composed in their order.
            card: more fields of the card.
            backbone: instead of the track's.
            canaries: mixed into the training set; which of them were trained on is written beside the submission.
        """
        if not 0 <= number < self.populations.track.population:
            raise FaceVeilError(
                f"number {number}: an entry of this track has backbones 0 to {self.populations.track.population - 1}."
            )
        own, composition = self.populations.numbered(number), compose(defense)
        fields = {"name": " + ".join(spec.label for spec in specs_of(defense))[:80], **(card or {}), "number": number}
        self.progress.step(f"training {composition.label}")
        if canaries is None and seed == number and not spread():
            population = Population(self.populations, self.cache / "populations", self.device)
            recipe = population.recipes(composition, backbone, self.init)[number]
            made = population.submission(recipe, self.progress.training)
            submission = pack(out, made.card.model_copy(update=fields), made.backbone(), made.head)
        else:
            submission = make_submission(
                own,
                composition,
                canaries.training_set(own.seen) if canaries else own.seen,
                seed=seed,
                out=out,
                work=self.cache / "training",
                backbone=backbone,
                init=self.init,
                device=self.device,
                card=fields | ({"canaries": canaries.note} if canaries else {}),
                progress=self.progress.training,
            )
        note_trained_here(self.cache, submission, self.populations, number, backbone)
        if canaries is not None:
            write_canaries(canary_path(out), canaries, submission, self.populations)
        return submission

    def prepare_all(self, defenses: Sequence[Defenses], backbone: BackboneSpec | None = None) -> None:
        """Trains what is missing of several entries, with the attacker's shadows on public people: all start together.

        Args:
            backbone: instead of the track's.
        """
        self._train(self.training_plan(defenses, backbone))

    def training_plan(
        self, defenses: Sequence[Defenses], backbone: BackboneSpec | None = None, plan: TrainingPlan | None = None
    ) -> TrainingPlan:
        """The trainings of several entries, those that are done included; see :meth:`prepare_all`.

        Args:
            plan: that they are added to, instead of a new one.
        """
        population = Population(self.populations, self.cache / "populations", self.device)
        plan = plan or TrainingPlan()
        for defense in defenses:
            recipes = population.recipes(defense, backbone, self.init)
            plan.add_population(population, recipes)
            if wants(build_attacks(self.populations.track.attacks), Knowledge.AUXILIARY):
                composition, own = recipes[0].defense, recipes[0].backbone
                released = composition.released_spec(composition.prepare(own))
                plan.add_shadows(self._pool, self._pool.recipes(composition, released, self.init))
        plan.add_shadows(self._pool, self._pool.undefended(self.init))
        return plan

    @property
    def _pool(self) -> ShadowPool:
        return ShadowPool(self.populations, self.cache / "shadows", self.device)

    def _train(self, plan: TrainingPlan) -> None:
        run_plan(plan, self.engine, self.progress.step, self.progress.training, self.progress.tasks)

    @property
    def _maker(self) -> EntryMaker:
        told = self.progress
        return EntryMaker(
            self.populations, self.cache, self.device, self.init, self.engine, told.step, told.training, told.tasks
        )

    def evaluate(self, submission: Submission, attacks: Sequence[AttackSpec] | None = None) -> Record:
        """The track's evaluation, after what is missing of the entry's population was trained; see
        :class:`benchmark.evaluation.standard.Evaluation`.
        """
        return self.evaluate_all([submission], attacks)[0]

    def evaluate_all(self, submissions: Sequence[Submission], attacks: Sequence[AttackSpec] | None = None) -> list[Record]:
        """Several entries as one graph of trainings and one of evaluations, so that no core waits for another's last step."""
        self._train(self.missing_trainings(submissions, attacks))
        planned = [self.plan(s, attacks, s.card.name if len(submissions) > 1 else "") for s in submissions]
        self.progress.step(f"evaluating {', '.join(s.card.name for s in submissions)}")
        self.engine.run_graph([node for one in planned for node in one.nodes], self.progress.tasks)
        return [one.record() for one in planned]

    def missing_trainings(self, submissions: Sequence[Submission], attacks: Sequence[AttackSpec] | None = None) -> TrainingPlan:
        """What has to be trained before submissions can be evaluated: the others of their populations, and shadows."""
        plan = TrainingPlan()
        for submission in submissions:
            self._maker.add_to(plan, submission)
            card, wanted = submission.card, self._wanted(submission, attacks)
            if wants((one.attack for one in wanted), Knowledge.AUXILIARY) and all_known(card):
                plan.add_shadows(self._pool, self._pool.recipes(card.defenses, card.backbone, self.init))
        plan.add_shadows(self._pool, self._pool.undefended(self.init))
        return plan

    def _wanted(self, submission: Submission, attacks: Sequence[AttackSpec] | None) -> list[Wanted]:
        return wanted_attacks(self.populations.track, known_defenses(submission.card), attacks)

    def outlook(self, submission: Submission, attacks: Sequence[AttackSpec] | None = None) -> Graph:
        """Every step of an evaluation, those that are done included; nothing is trained and no attack is run."""
        plan = self.missing_trainings([submission], attacks)
        if not plan.missing:
            return Graph([*plan.nodes, *self.plan(submission, attacks).nodes])
        wanted = self._wanted(submission, attacks)
        return Graph([*plan.nodes, *self.expected(wanted, tuple(node.key for node in plan.missing))])

    def expected(self, wanted: Sequence[Wanted], after: tuple[str, ...], entry: str = "evaluation") -> list[Node]:
        """The steps of an evaluation whose backbones are not trained yet.

        Args:
            after: keys of the steps that train them.
            entry: tells its steps from those of others in the same graph.
        """
        track = self.populations.track
        shadows = bool(track.shadows.auxiliary) and wants((one.attack for one in wanted), Knowledge.AUXILIARY)
        probes = [PIXELS, "untrained backbone", *(["public backbone"] if track.shadows.auxiliary else [])]
        probes += ["initial weights"] if self.init is not None else []
        label = "" if entry == "evaluation" else entry
        return Outline(track, entry, label, after).expected(
            [one.spec for one in wanted], workers=self.engine.workers, shadows=shadows, probes=probes
        )

    def plan(self, submission: Submission, attacks: Sequence[AttackSpec] | None = None, label: str = "") -> Planned:
        """The evaluation of one submission, whose population is trained, as steps; see :meth:`evaluate`."""
        told = self.progress
        evaluation = Evaluation(
            self._maker.of(submission),
            self.populations,
            self.cache,
            device=self.device,
            init=self.init,
            step=told.step,
            training=told.training,
            engine=self.engine,
            tasks=told.tasks,
        )
        return evaluation.plan(attacks, label)

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
        encoder: Submission | None = None,
        judges: Sequence[Submission] = (),
        targets: int | None = None,
        reconstructions: int | None = None,
        lpips: Path | None = None,
    ) -> InversionEvaluation:
        """Inversion attacks on a submission, ready to run.

        Args:
            generator: a file of the attacker's own instead of the track's generator.  Without any, attacks that need one are
                not applicable.
            encoder: a backbone that the attacker holds, instead of one trained on the track's public people.
            judges: beside the track's; on tracks of real faces two or more stand in for them.
            targets, reconstructions: fewer than the track's budget, for a quick look.
            lpips: torchvision's AlexNet weights; without them LPIPS is not measured.
        """
        looks = Lpips(lpips, self.device) if lpips is not None else None  # first, so that a wrong file costs nothing
        track = self.populations.track
        made, name, digest = self._generator(generator)
        runner = InversionRunner(
            submission,
            self.populations,
            self.cache,
            seed=track.split_seed,
            chunk=track.inversion_budget.chunk,
            device=self.device,
            generator=made,
            generator_digest=digest,
            init=self.init,
            encoder=encoder,
            step=self.progress.step,
            training=self.progress.training,
        )
        return InversionEvaluation(runner, self.panel(judges), targets, reconstructions, name, looks)

    def _generator(self, path: Path | None) -> tuple[FaceGenerator | None, str, str]:
        track = self.populations.track
        try:
            result: tuple[FaceGenerator | None, str, str] = service("generator")(
                track.name, track.image_size, path, self.device
            )
            return result
        except FaceVeilError as error:
            if path is not None:
                raise
            return None, str(error), ""
