from __future__ import annotations

import pytest
import torch

from attacks.generators.augmentation import _apply, _colours, _geometry, _moved, adapted, augment


def pictures(count=32):
    torch.manual_seed(0)
    return torch.rand(count, 3, 16, 16) * 2 - 1


def test_no_augmentation_is_the_identity():
    images = pictures()
    assert augment(images, 0.0) is images


def test_the_share_of_changed_images_follows_p():
    images = pictures(400)
    torch.manual_seed(1)
    changed = (augment(images, 0.05) - images).abs().amax((1, 2, 3)) > 1e-4
    # eight moves (two of them at half the chance) and five colour changes, some of which may leave an image as it is
    assert 0.25 < changed.float().mean() < 0.55
    assert ((augment(images, 0.8) - images).abs().amax((1, 2, 3)) > 1e-4).float().mean() > 0.99


def test_the_same_state_makes_the_same_changes():
    images = pictures()
    torch.manual_seed(2)
    first = augment(images, 0.5)
    torch.manual_seed(2)
    assert torch.equal(first, augment(images, 0.5))


def test_moves_and_colours_are_applied_as_matrices_say():
    images = pictures(1)
    quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    torch.testing.assert_close(_moved(images, quarter), images.rot90(1, (2, 3)), atol=1e-4, rtol=0)
    doubled = _apply(torch.eye(3).repeat(2, 1, 1), 2 * torch.eye(3).repeat(2, 1, 1), p=1.0)
    torch.testing.assert_close(doubled, 2 * torch.eye(3).repeat(2, 1, 1))


def test_colour_changes_keep_what_they_should():
    torch.manual_seed(3)
    colours = _colours(200, 1.0)
    assert torch.equal(colours[:, 3], torch.tensor([0.0, 0, 0, 1]).expand(200, 4))
    grey = torch.full((3,), 0.3)
    found = colours[:, :3, :3] @ grey + colours[:, :3, 3]  # grey stays grey under all of them
    torch.testing.assert_close(found, found.mean(1, keepdim=True).expand(-1, 3), atol=1e-4, rtol=1e-4)
    assert torch.linalg.det(_geometry(50, 1.0)).abs().min() > 0.05  # nothing collapses


def test_gradients_reach_the_images():
    images = pictures(4).requires_grad_(True)
    augment(images, 0.8).square().sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("p", "overfitting", "expected"), [(0.1, 0.9, 0.11), (0.1, 0.2, 0.09), (0.0, 0.1, 0.0), (0.8, 1.0, 0.8)]
)
def test_p_follows_how_sure_the_discriminator_is(p, overfitting, expected):
    assert adapted(p, overfitting, target=0.6, photos=1000) == pytest.approx(expected)
