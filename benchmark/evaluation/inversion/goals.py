"""The two goals of an inversion: with whom its images are compared, and by which metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from benchmark.evaluation.inversion.identity_metrics import MEMBER, GalleryView, identity_metrics, match
from benchmark.evaluation.inversion.lpips import Lpips
from benchmark.evaluation.inversion.panel import embed
from benchmark.evaluation.inversion.subjects import IdentitySubjects, TemplateSubjects
from benchmark.evaluation.inversion.template_metrics import View, picture_metrics, template_metrics
from benchmark.interfaces import Photos
from benchmark.records.results import Metric
from benchmark.signals.target import Target

Embedded = Callable[[Target, Photos], np.ndarray]  # photos of real people -> (N, D)
Thresholds = Mapping[str, float | None]
Seen = TypeVar("Seen")  # images and people as one backbone sees them


@dataclass(frozen=True)
class JudgedGoal(ABC, Generic[Seen]):
    """What images made for a goal are compared with."""

    embedded: Embedded
    seed: int

    @property
    @abstractmethod
    def photos(self) -> Photos:
        """Those that pictures show beside the images."""

    @abstractmethod
    def view(self, target: Target, thresholds: Thresholds, images: Tensor) -> Seen:
        """How one backbone sees the images and the people beside them."""

    @abstractmethod
    def metrics(self, views: Sequence[Seen]) -> dict[str, Metric]:
        """Of what the owners of these views agree on."""

    @abstractmethod
    def of_members(self, images: Tensor) -> Tensor:
        """The images whose distribution is compared with that of members' photos."""

    def likeness(self, _images: Tensor) -> dict[str, Metric]:
        """How much each image looks like its photo, where it has one."""
        return {}

    def found(self, _views: Sequence[Seen]) -> np.ndarray | None:
        """The people (P,) bool whom the images show by these views, where that is the question."""
        return None

    @abstractmethod
    def pairs(self, views: Sequence[Seen], most: int) -> dict[int, int]:
        """Image -> photo, for a picture of up to ``most`` images."""


@dataclass(frozen=True)
class TemplateGoal(JudgedGoal[View]):
    """A: from a leaked template to the face of its person; image n is made from the template of source n."""

    subjects: TemplateSubjects
    lpips: Lpips | None

    @property
    def photos(self) -> Photos:
        return self.subjects.sources

    def view(self, target: Target, thresholds: Thresholds, images: Tensor) -> View:
        sources, gallery = self.embedded(target, self.photos), self.embedded(target, self.subjects.gallery)
        return View(thresholds, embed(target, images), sources, gallery)

    def metrics(self, views: Sequence[View]) -> dict[str, Metric]:
        return template_metrics(views, self.subjects.targets, seed=self.seed)

    def of_members(self, images: Tensor) -> Tensor:
        return images[self.subjects.targets.member]

    def likeness(self, images: Tensor) -> dict[str, Metric]:
        """LPIPS to the photos whose templates leaked, where there are weights for it."""
        if self.lpips is None:
            return {}
        distance = self.lpips(images, self.photos.load(np.arange(len(self.photos))))
        return picture_metrics(distance, self.subjects.targets, seed=self.seed)

    def pairs(self, _views: Sequence[View], most: int) -> dict[int, int]:
        """Every image with the photo of its template, members first."""
        return {n: n for n in range(min(len(self.photos), most))}


@dataclass(frozen=True)
class IdentityGoal(JudgedGoal[GalleryView]):
    """B: people that were trained on, from nothing."""

    subjects: IdentitySubjects

    @property
    def photos(self) -> Photos:
        return self.subjects.photos

    def view(self, target: Target, thresholds: Thresholds, images: Tensor) -> GalleryView:
        return GalleryView(thresholds, embed(target, images), self.embedded(target, self.photos))

    def metrics(self, views: Sequence[GalleryView]) -> dict[str, Metric]:
        return identity_metrics(views, self.subjects.gallery, seed=self.seed)

    def of_members(self, images: Tensor) -> Tensor:
        return images

    def found(self, views: Sequence[GalleryView]) -> np.ndarray | None:
        return match(views, self.subjects.gallery).by_rank if views else None

    def pairs(self, views: Sequence[GalleryView], most: int) -> dict[int, int]:
        """The images that show a member by these views, each with the member's first photo."""
        gallery = self.subjects.gallery
        agreed = match(views, gallery).agreed
        chosen = np.flatnonzero((agreed >= 0) & (gallery.group[agreed] == MEMBER))[:most]
        return {int(n): int(np.flatnonzero(gallery.photos == agreed[n])[0]) for n in chosen}
