import pytest
import torch
from strangers import SIDE, Stranger
from torch import nn

from benchmark.evaluation.audit.module import as_embedding, target_of_module, untrained_copy
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.track import InputSpec

SPEC = InputSpec(size=(SIDE, SIDE))
IMAGES = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


class Answering(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.inner, self.answer = Stranger(), answer

    def forward(self, x):
        return self.answer(self.inner(x))


@pytest.mark.parametrize(
    "answer",
    [
        lambda e: e,
        lambda e: (e, e.sum()),
        lambda e: [e.sum(), e],
        lambda e: {"logits": e[:, :3], "embedding": e},
        lambda e: e[:, :, None, None],
    ],
    ids=["tensor", "tuple", "list", "dictionary", "map of one place"],
)
def test_an_embedding_is_found_in_whatever_is_returned(answer):
    expected = Stranger().eval()((IMAGES - 0.5) / 0.5)
    target = target_of_module(Answering(answer), SPEC)
    torch.testing.assert_close(target.embed(IMAGES), expected.detach())


def test_the_model_itself_stays_as_it_was():
    model = Stranger().train()
    target_of_module(model, SPEC).embed(IMAGES)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_another_answer_is_named_with_what_to_do():
    with pytest.raises(FaceVeilError, match=r"a tensor \(2, 4, 8\).*embed="):
        target_of_module(Answering(lambda e: e.view(-1, 4, 8)), SPEC)
    target = target_of_module(Answering(lambda e: e.view(-1, 4, 8)), SPEC, embed=lambda e: e[:, 0])
    assert target.embed(IMAGES).shape == (3, 8)
    with pytest.raises(FaceVeilError, match="embed= must return"):
        target_of_module(Stranger(), SPEC, embed=lambda e: e.sum())


def test_a_model_for_another_size_is_told_so():
    with pytest.raises(FaceVeilError, match="input_size="):
        target_of_module(Stranger(), InputSpec(size=(40, 40)))


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(FaceVeilError, match="not finite"):
        target_of_module(Answering(lambda e: e / 0), SPEC)


def test_a_transform_sees_images_and_replaces_the_normalisation():
    seen = []

    def transform(x):
        seen.append((float(x.min()), float(x.max())))
        return x * 2 - 1

    target = target_of_module(Stranger(), InputSpec(size=(SIDE, SIDE), mean=(0, 0, 0), std=(1, 1, 1)), transform=transform)
    torch.testing.assert_close(target.embed(IMAGES), Stranger().eval()(IMAGES * 2 - 1).detach())
    assert all(low >= 0 and high <= 1 for low, high in seen)


def test_layers_that_no_photo_passes_are_left_out():
    model = Stranger()
    model.head = nn.BatchNorm1d(4)
    names = [
        n for n, m in target_of_module(model, SPEC).backbone.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    assert names == ["module.norm1", "module.norm2"]


def test_an_untrained_copy_keeps_nothing_that_was_trained():
    model = nn.Sequential(Stranger())
    model.token = nn.Parameter(torch.full((4,), 3.0))  # of no layer that could be reset
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.running_mean, 7.0)
    target = target_of_module(model, SPEC)
    blank = untrained_copy(target)
    trained = dict(target.backbone.state_dict())
    for name, value in blank.backbone.state_dict().items():
        if value.is_floating_point() and not name.endswith(("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "var")):
            assert not torch.equal(value, trained[name]), name


def test_a_dictionary_without_an_embedding_is_shown():
    with pytest.raises(FaceVeilError, match="a dictionary of loss: a tensor"):
        as_embedding({"loss": torch.zeros(())})
