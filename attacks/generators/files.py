"""Generators on disk: our own safetensors, and the two published PyTorch layouts, read without running their code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from attacks.generators.nvlabs import read_nvlabs
from attacks.generators.plain import PlainGenerator, build_dcgan, dcgan_tensors
from attacks.generators.rosinality import from_checkpoint, read_checkpoint
from attacks.generators.stylegan2 import Generator
from attacks.generators.tensors import build, refusal
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import get_track
from benchmark.runtime.atomic import replacing
from benchmark.runtime.home import home

SHIPPED = Path(__file__).parent / "weights"
SYNTHETIC = "synthetic-64"  # the track whose generator serves every synthetic track: their faces differ in size alone
_CLAMP = "clamp"


def load_generator(path: Path | str) -> Generator | PlainGenerator:
    """A generator in evaluation mode, frozen, on the CPU.

    Args:
        path: ``.safetensors`` (ours), ``.pkl`` (NVlabs stylegan2-ada-pytorch: ``G_ema``) or ``.pt`` (rosinality: ``g_ema``; or
            the generator of a DCGAN, which is searched in z).

    Raises:
        FaceVeilError: no such file, another format, code in a pickle, or tensors missing, left over or misshapen; all named.
    """
    path = Path(path)
    if not path.is_file():
        raise FaceVeilError(
            f"no generator at {path}: give a .safetensors, .pkl or .pt file, or make one with `faceveil generator train`."
        )
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise refusal(path, "a git-LFS pointer, not the weights themselves; fetch them with `git lfs pull`.")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    if path.suffix == ".pkl":
        return read_nvlabs(path)
    if path.suffix in (".pt", ".pth"):
        content = read_checkpoint(path)
        tensors = dcgan_tensors(content)
        return build_dcgan(tensors, path) if tensors is not None else from_checkpoint(content, path)
    raise refusal(path, f"generators are .safetensors, .pkl or .pt files, not {path.suffix or 'without suffix'}.")


def _load_safetensors(path: Path) -> Generator:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        clamp = json.loads(metadata.pop(_CLAMP, "null"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise refusal(path, f"not a safetensors file: {error}") from None
    if not (clamp is None or isinstance(clamp, int | float)):
        raise refusal(path, f"the metadata field clamp must be a number, not {clamp!r}.")
    generator = build(state, path, clamp)
    generator.metadata = metadata
    return generator


def save_generator(
    generator: Generator, path: Path | str, metadata: Mapping[str, str] | None = None, *, half: bool = False
) -> None:
    """Writes a generator as safetensors, whole or not at all.

    Args:
        metadata: texts kept in the file's header, beside those the generator came with.
        half: store float16 (half the size; images change by less than one grey level of 255 in trained generators).
    """
    dtype = torch.float16 if half else torch.float32
    state = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in generator.state_dict().items()}
    texts = {**generator.metadata, **dict(metadata or {}), _CLAMP: json.dumps(generator.config["clamp"])}
    with replacing(Path(path)) as temporary:
        safetensors.torch.save_file(state, temporary, texts)


def trained_here(track_name: str) -> Path:
    """Where ``faceveil generator train`` leaves the generator of a track on this machine."""
    return home() / "generators" / f"{track_name}.safetensors"


def for_track(track_name: str, image_size: int) -> Path:
    """The generator for a track: the one that ships with FaceVeil, or one trained on this machine.

    Every synthetic track is served by the one trained on ``synthetic-64``: the same kind of faces at another size, so that
    what it draws is resized to ``image_size``.

    Raises:
        FaceVeilError: there is none; says which command makes it.
    """
    names = [track_name, SYNTHETIC] if get_track(track_name).source == "synthetic" else [track_name]
    for name in names:
        for path in (SHIPPED / f"{name}.safetensors", trained_here(name)):
            if path.is_file():
                return path
    data = "" if get_track(track_name).source == "synthetic" else " --data PATH"
    raise FaceVeilError(
        f"no generator of {image_size} px faces for track {track_name!r}: make one with "
        f"`faceveil generator train --track {names[-1]}{data}`, or name a file of your own."
    )
