from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from photo_arrays import ArrayPhotos

from benchmark.data.align import TEMPLATE
from benchmark.data.readers.eye_positions import alignment_warning
from benchmark.data.readers.folder import open_folder

ALIGNED = ("orl_arcface112.zip", "london_arcface112.tar")


def drawn(count: int, jitter: float, scale: float = 1.0) -> ArrayPhotos:
    """Discs for heads with dark eyes at the template, each moved at random by up to ``jitter`` pixels."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:112, :112]
    images = []
    for _ in range(count):
        move = rng.uniform(-jitter, jitter, 2)
        image = np.where((x - 56) ** 2 + (y - 60) ** 2 < 50**2, 180.0, 90.0) + rng.normal(0, 20, (112, 112))
        for eye in TEMPLATE[:2]:
            centre = (eye - 56) * scale + 56 + move
            image -= 110 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 40)
        images.append(image.clip(0, 255))
    photos = torch.from_numpy(np.array(images, np.uint8))[:, None].repeat(1, 3, 1, 1)
    return ArrayPhotos(photos, np.arange(count))


def test_drawn_eyes() -> None:
    assert alignment_warning(drawn(100, jitter=1)) == ""
    assert "faceveil data align" in alignment_warning(drawn(100, jitter=1, scale=0.6))
    assert "faceveil data align" in alignment_warning(drawn(100, jitter=30))
    assert alignment_warning(drawn(20, jitter=30)) == ""  # too few to tell


@pytest.mark.parametrize("name", ALIGNED)
def test_aligned_sets_pass_and_the_unaligned_original_does_not(testdata: Path, name: str) -> None:
    assert alignment_warning(open_folder(testdata / name)) == ""
    assert "look unaligned" in alignment_warning(open_folder(testdata / "orl_faces.tar.gz"))
