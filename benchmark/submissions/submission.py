"""Submissions: a folder or zip of ``card.json``, ``model.safetensors`` or ``model.onnx``, and optionally ``head.safetensors``.

Loading trusts nothing: no pickle, no code, no path outside, every size bounded, and the backbone is given memory only after the
header of the weights has been matched with it.  The errors are those of :mod:`benchmark.submissions.problems`:
``PackagingError`` (pack
again), ``CardError`` (edit card.json), ``WeightsError`` (save the tensors again), ``MismatchError`` (make both agree).
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.models import backbones
from benchmark.models.graph_network import NAME as GRAPH
from benchmark.runtime.atomic import replacing, replacing_folder
from benchmark.submissions.card import Card
from benchmark.submissions.card_parser import parse_card
from benchmark.submissions.expected_shapes import compare, expected_shapes
from benchmark.submissions.onnx_file import read_network
from benchmark.submissions.package import CARD, FILES, HEAD, ONNX, WEIGHTS, Package, open_package
from benchmark.submissions.problems import PackagingError, Problem, SubmissionError, refusal, shown
from benchmark.submissions.tensor_file import digest, read_header, read_tensors, write_tensors

MAX_HEAD_TENSORS = 16


@dataclass(frozen=True, eq=False)
class Submission:
    """A model that was checked: its card, its tensors on the CPU, and where it was read from (None: nowhere)."""

    card: Card
    weights: dict[str, Tensor]
    head: dict[str, Tensor] | None = None
    path: Path | None = None

    @cached_property
    def weights_sha256(self) -> str:
        """sha256 over names, dtypes, shapes and bytes of the weights, in the order of their names."""
        return digest(self.weights)

    @cached_property
    def submission_id(self) -> str:
        """sha256 over the weights, the graph that they belong to where they have one, and the inference transform.

        It names what is attacked, whatever its card says of it.
        """
        transform = dict(self.card.inference) if self.card.inference else None
        spec = self.card.backbone
        graph = [dict(spec.kwargs)] if spec.name == GRAPH else []
        return digest({}, self.weights_sha256, transform, *graph)

    def backbone(self) -> nn.Module:
        """A new backbone with the weights, on the CPU, in evaluation mode; torch's random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            model = backbones.create(self.card.backbone.name, self.card.backbone.kwargs)
        model.load_state_dict(self.weights, strict=True)
        return model.eval()

    def shared_backbone(self) -> nn.Module:
        """The same to look at: where the types agree it holds the submission's own tensors, and must not be changed."""
        with torch.random.fork_rng(devices=[]):
            model = backbones.create(self.card.backbone.name, self.card.backbone.kwargs)
        kinds = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        model.load_state_dict({n: t.to(kinds.get(n, t.dtype)) for n, t in self.weights.items()}, strict=True, assign=True)
        return model.eval().requires_grad_(False)


def load_submission(path: Path | str) -> Submission:
    """Reads and checks a submission folder or zip; runs none of its code, unpickles nothing, builds no backbone in memory.

    Raises:
        SubmissionError: with every problem found; its class says what to do again.
    """
    path = Path(path)
    submission, problems = read_with_problems(path)
    if submission is None or problems:
        raise refusal(problems)
    return submission


def read_with_problems(path: Path) -> tuple[Submission | None, list[Problem]]:
    try:
        with open_package(path) as package:
            return _read_package(package, path)
    except SubmissionError as error:
        return None, list(error.problems)


def _read_package(package: Package, path: Path) -> tuple[Submission | None, list[Problem]]:
    problems = list(package.problems)
    card, headers = None, {}
    try:
        if CARD in package.sources:
            card = parse_card(package.sources[CARD].read())
    except SubmissionError as error:
        problems += error.problems
    for name in (WEIGHTS, HEAD):
        try:
            if name in package.sources:
                headers[name] = read_header(package.sources[name])
        except SubmissionError as error:
            problems += error.problems
    if ONNX not in package.sources:
        problems += _mismatches(card, headers)
    problems += _too_many(headers)
    if problems or card is None:
        return None, problems
    try:
        tensors = {name: read_tensors(package.sources[name], header) for name, header in headers.items()}
        if ONNX in package.sources:
            card, tensors[WEIGHTS] = read_network(package.sources[ONNX], card)
    except SubmissionError as error:
        return None, list(error.problems)
    return Submission(card, tensors[WEIGHTS], tensors.get(HEAD), path), []


def _too_many(headers: Mapping[str, Any]) -> list[Problem]:
    if HEAD not in headers or len(headers[HEAD].entries) <= MAX_HEAD_TENSORS:
        return []
    message = f"{HEAD} declares {len(headers[HEAD].entries)} tensors (allowed: {MAX_HEAD_TENSORS})."
    return [Problem(part="weights", code="tensor_count", message=message, remedy="Save the head's state_dict().")]


def _mismatches(card: Card | None, headers: Mapping[str, Any]) -> list[Problem]:
    if card is None:
        return []
    try:
        expected = expected_shapes(card.backbone)
    except SubmissionError as error:
        return list(error.problems)
    return compare(headers[WEIGHTS], expected) if WEIGHTS in headers else []


def pack(out: Path, card: Card, backbone: nn.Module, head: Mapping[str, Tensor] | None = None) -> Submission:
    """Writes a submission folder and reads it back; ``out`` is complete or absent, whatever interrupts it.

    An older submission at ``out`` is replaced.  The card's backbone must be able to hold the weights.

    Raises:
        PackagingError: ``out`` holds other things.
        SubmissionError: what was packed could not be loaded again.
    """

    def write(folder: Path) -> None:
        write_tensors(folder / WEIGHTS, backbone.state_dict())
        if head is not None:
            write_tensors(folder / HEAD, head)

    return _packed(Path(out), card, write)


def pack_onnx(out: Path, card: Card, network: Path) -> Submission:
    """The same of an ONNX file, which becomes the submission's ``model.onnx`` as it is; see :func:`pack`."""
    return _packed(Path(out), card, lambda folder: shutil.copyfile(network, folder / ONNX))


def _packed(out: Path, card: Card, write: Callable[[Path], Any]) -> Submission:
    _check_free(out)
    with replacing_folder(out) as folder:
        write(folder)
        (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        submission = load_submission(folder)
    return replace(submission, path=out)


def _check_free(out: Path) -> None:
    if not out.exists():
        return
    others = sorted(set(os.listdir(out)) - set(FILES)) if out.is_dir() else [out.name]
    if others:
        message = f"{out} holds something else than a submission: {shown(others[0])}."
        raise PackagingError([Problem(part="packaging", code="not_free", message=message, remedy="Choose another folder.")])


def pack_zip(folder: Path, out: Path) -> Path:
    """Writes a submission folder as a zip, the same bytes from the same files.

    Raises:
        SubmissionError: the folder is not a submission.
    """
    load_submission(folder)
    with replacing(Path(out)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in FILES:
            if (Path(folder) / name).exists():
                with (Path(folder) / name).open("rb") as source, archive.open(zipfile.ZipInfo(name), "w") as target:
                    shutil.copyfileobj(source, target)
    return Path(out)
