from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.protocol.registry import build_attack
from defenses.distillation import Distillation
from defenses.shared.imitation import embed_photos
from defenses.undefended import Undefended


class Forbidden:
    """The members' photos, which raise as soon as the teacher is done."""

    def __init__(self, photos, done) -> None:
        self.identity, self.keys, self.digest, self.photos, self.done = (
            photos.identity,
            photos.keys,
            photos.digest,
            photos,
            done,
        )

    def __len__(self) -> int:
        return len(self.identity)

    def load(self, index):
        assert not self.done(), "a member's photo was touched after the teacher"
        return self.photos.load(index)


def test_no_members_photo_is_touched_after_the_teacher(make_trainer, photos, public):
    lines = []
    defense = Distillation(epochs=3)
    members = Forbidden(photos, lambda: len(lines) >= 4)
    defense.fit(make_trainer(defense, photos=members, public=public, progress=lines.append))
    assert [line.epochs for line in lines] == [4] * 4 + [3] * 3


@pytest.mark.slow
def test_the_student_embeds_public_faces_as_the_teacher_does(make_trainer, public):
    teacher = make_trainer(Undefended())
    start = embed_photos(teacher.backbone, public, teacher.input, teacher.device)
    teacher.run()
    defense = Distillation(epochs=15)
    trainer = make_trainer(defense, public=public)
    defense.fit(trainer)
    targets = embed_photos(teacher.backbone, public, teacher.input, teacher.device)
    student = embed_photos(trainer.backbone, public, trainer.input, trainer.device)
    before, after = ((e * targets).sum(1).mean().item() for e in (start, student))
    assert after > before + 0.2
    assert after > 0.8
    state = zip(trainer.backbone.parameters(), teacher.backbone.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in state), "the student is not the teacher"


def test_embeddings_of_photos_are_unit_and_leave_the_mode(make_trainer, photos):
    trainer = make_trainer(Undefended())
    trainer.backbone.train()
    found = embed_photos(trainer.backbone, photos, trainer.input, trainer.device, batch=7)
    assert trainer.backbone.training
    with torch.no_grad():
        whole = F.normalize(trainer.backbone.eval()(trainer.batch(np.arange(30), 0)[0]))
    torch.testing.assert_close(found, whole, atol=1e-4, rtol=1e-3)


def test_a_resumed_run_ends_in_the_same_weights(assert_resumes, public):
    assert_resumes(Distillation(epochs=2), public=public)


def test_the_adaptive_attacks_exist():
    names = [build_attack(spec).name for spec in Distillation().adaptive_attacks()]
    assert {"bn_distance", "regrown_head"} <= set(names)
