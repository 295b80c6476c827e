"""The generator that an attacker holds on a track: the service ``generator`` of the benchmark."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from attacks.generators.files import for_track, load_generator
from attacks.generators.plain import PlainGenerator
from attacks.generators.stylegan2 import Generator


def open_generator(
    track: str, image_size: int, path: Path | None = None, device: torch.device | str = "cpu"
) -> tuple[Generator | PlainGenerator, str, str]:
    """The generator of a track, or of the file ``path``, frozen; its name for readers; and the sha256 of its file.

    The name says so where its images are resized to the track's ``image_size``.

    Raises:
        FaceVeilError: there is none, or its file is refused; says what to do.
    """
    file = path or for_track(track, image_size)
    generator = load_generator(file).to(device).eval().requires_grad_(False)
    with Path(file).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    name = f"{Path(file).name}, {generator.resolution} px"
    if generator.resolution != image_size:
        name += f" resized to {image_size} px"
    return generator, name, digest
