"""What each goal compares its images with."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.evaluation.inversion.goals import IdentityGoal, TemplateGoal
from benchmark.evaluation.inversion.identity_metrics import GalleryView
from benchmark.evaluation.inversion.subjects import identity_subjects, template_subjects

IMAGES = torch.arange(6).view(-1, 1, 1, 1).expand(6, 3, 2, 2)


def nobody_embeds(_target, _photos):
    raise AssertionError("nothing is embedded here")


def template_goal(flow) -> TemplateGoal:
    return TemplateGoal(nobody_embeds, 0, template_subjects(flow.populations, 3, seed=0), None)


def test_a_template_is_shown_beside_the_photo_that_leaked_it(flow):
    goal = template_goal(flow)
    assert goal.pairs([], most=4) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert list(goal.pairs([], most=100)) == list(range(6))
    assert goal.photos is goal.subjects.sources


def test_only_images_made_for_members_are_compared_with_members_as_a_whole(flow):
    goal = template_goal(flow)
    assert goal.subjects.targets.member.tolist() == [True] * 3 + [False] * 3
    assert goal.of_members(IMAGES)[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert goal.likeness(IMAGES) == {}, "there are no weights for LPIPS"
    assert goal.found([]) is None, "whom an image shows is known"


def test_a_rebuilt_member_is_shown_beside_their_first_photo(flow):
    subjects = identity_subjects(flow.populations, seed=0)
    people = np.eye(len(subjects.gallery.group), dtype=np.float32)
    member, other = np.flatnonzero(subjects.gallery.group == 0)[1], np.flatnonzero(subjects.gallery.group == 1)[0]
    view = GalleryView({"1e-3": 0.5}, people[[other, member]], people[subjects.gallery.photos])
    goal = IdentityGoal(nobody_embeds, 0, subjects)
    first = int(np.flatnonzero(subjects.gallery.photos == member)[0])
    assert goal.pairs([view], most=5) == {1: first}, "the first image shows somebody who was not trained on"
    assert goal.pairs([view], most=0) == {}
    assert np.flatnonzero(goal.found([view])).tolist() == sorted([member, other])
    assert goal.found([]) is None, "without a judge nobody is found"
    assert goal.of_members(IMAGES) is IMAGES
