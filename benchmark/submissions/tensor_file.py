"""Safetensors files that nobody vouches for: the header is read and checked here before the library sees a byte.

Format (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header length, a JSON object from tensor
name to dtype, shape and byte range, then the bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from benchmark.interfaces import canonical_json
from benchmark.submissions.package import PackageFile, read_exactly
from benchmark.submissions.problems import Problem, WeightsError, listed, shown

MAX_HEADER = 2**20  # bytes
MAX_TENSORS = 5_000
MAX_DIMENSIONS = 8
FLOATS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
COUNTER = "num_batches_tracked"  # the one tensor of BatchNorm that counts: int64

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,256}")
_SAVE = "Save it with safetensors.torch.save_file, or pack the model with benchmark.submissions.submission.pack."


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as the header declares it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header, and the bytes it was read from (length included)."""

    entries: dict[str, TensorEntry]
    raw: bytes

    @property
    def shapes(self) -> dict[str, tuple[tuple[int, ...], bool]]:
        """Name -> shape and whether it holds floats."""
        return {name: (entry.shape, entry.dtype.is_floating_point) for name, entry in self.entries.items()}


def _refusal(code: str, message: str, remedy: str = _SAVE) -> WeightsError:
    return WeightsError([Problem(part="weights", code=code, message=message, remedy=remedy)])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise KeyError("a name stands in it twice")
    return found


def read_header(source: PackageFile) -> Header:
    """The header of a safetensors file, checked against the file's size, every tensor's range against its dtype and shape.

    Raises:
        WeightsError: not a safetensors file, truncated, or a header that contradicts itself or the file.
    """
    with source.open() as stream:
        first = read_exactly(stream, min(8, source.size), source.name)
        length = _header_length(first, source)
        text = read_exactly(stream, length, source.name)
    entries = _entries(_parse(text, source.name), source.name)
    _check_ranges(entries, source.size - 8 - length, source.name)
    return Header(entries, first + text)


def _header_length(first: bytes, source: PackageFile) -> int:
    if first.startswith(b"version "):
        message = f"{source.name} is a git-LFS pointer, not the weights."
        raise _refusal("lfs_pointer", message, "Fetch them with `git lfs pull`.")
    if first.startswith(b"PK\x03\x04") or first[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise _refusal("pickle", f"{source.name} is a torch.save or pickle file, which can run code when it is opened.")
    length = int.from_bytes(first, "little")
    if len(first) < 8 or length > source.size - 8:
        raise _refusal("truncated", f"{source.name} has {source.size} bytes but declares a header of {length}.")
    if length > MAX_HEADER:
        raise _refusal("header_too_large", f"{source.name} has a header of {length} bytes (allowed: {MAX_HEADER}).")
    return length


def _parse(text: bytes, name: str) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except KeyError as error:
        raise _refusal("duplicate_tensor", f"the header of {name} is ambiguous: {error.args[0]}.") from None
    except (ValueError, RecursionError) as error:
        raise _refusal("header", f"the header of {name} is not JSON: {shown(str(error))}.") from None
    if not isinstance(header, dict):
        raise _refusal("header", f"the header of {name} is not a JSON object.")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refusal("header", f"the __metadata__ of {name} is not an object of texts.")
    if not 0 < len(header) <= MAX_TENSORS:
        raise _refusal("tensor_count", f"{name} declares {len(header)} tensors (allowed: 1 to {MAX_TENSORS}).")
    return header


def _entries(header: dict[str, Any], file: str) -> dict[str, TensorEntry]:
    entries: dict[str, TensorEntry] = {}
    problems: list[Problem] = []
    for name, declared in header.items():
        try:
            entries[name] = _entry(name, declared, file)
        except WeightsError as error:
            problems.extend(error.problems)
    if problems:
        raise WeightsError(problems[:20])
    return entries


def _entry(name: str, declared: Any, file: str) -> TensorEntry:
    where = f"tensor {shown(name)} of {file}"
    if not _NAME.fullmatch(name):
        raise _refusal("tensor_name", f"{where} has a name that no module can have.")
    if not isinstance(declared, dict) or set(declared) != {"dtype", "shape", "data_offsets"}:
        raise _refusal("header", f"{where} does not declare exactly dtype, shape and data_offsets.")
    shape, offsets = declared["shape"], declared["data_offsets"]
    if not _counts(shape) or len(shape) > MAX_DIMENSIONS or not _counts(offsets) or len(offsets) != 2:
        raise _refusal("header", f"{where} declares a shape or range that is not one: {shown([shape, offsets])}.")
    dtype = _dtype(name, declared["dtype"], where)
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise _refusal("tensor_size", f"{where} declares shape {shown(shape)} but {offsets[1] - offsets[0]} bytes.")
    return TensorEntry(dtype, tuple(shape), *offsets)


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**40 for value in values)


def _dtype(name: str, declared: Any, where: str) -> torch.dtype:
    if name.split(".")[-1] == COUNTER and declared == "I64":
        return torch.int64
    if not isinstance(declared, str) or declared not in FLOATS:
        allowed = f"Weights are {', '.join(FLOATS)}; only {COUNTER} is I64."
        raise _refusal("dtype", f"{where} has dtype {shown(declared)}.", allowed)
    return FLOATS[declared]


def _check_ranges(entries: dict[str, TensorEntry], size: int, file: str) -> None:
    """Ranges tile the data without gap or overlap, so that no byte is hidden and none is read twice."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise _refusal("layout", f"tensor {shown(name)} of {file} overlaps another one or leaves a gap before it.")
        position = entry.end
    if position > size:
        raise _refusal("truncated", f"{file} holds {size} bytes of data but declares {position}.")
    if position < size:
        raise _refusal("layout", f"{file} holds {size - position} bytes behind its last tensor.")


def read_tensors(source: PackageFile, header: Header) -> dict[str, Tensor]:
    """The tensors of a file whose header was checked, on the CPU, all finite.

    Raises:
        WeightsError: NaN or infinity, or a file that changed since its header was read.
    """
    data = source.read()
    if not data.startswith(header.raw):
        raise _refusal("changed", f"{source.name} changed while it was read.", "Submit it again.")
    try:
        tensors = safetensors.torch.load(data)
    except MemoryError:
        raise
    except Exception as error:  # the library's own checks are a second line; whatever it raises is a refusal
        raise _refusal("header", f"{source.name} is refused by safetensors: {shown(str(error), 160)}.") from None
    # as float32, because that is what the backbone will hold: a float64 may overflow on the way
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    if broken:
        found = f"{len(broken)} tensors of {source.name} hold NaN or infinity: {listed(sorted(broken))}."
        raise _refusal("not_finite", found, "Training diverged: train again with a lower learning rate or clipped gradients.")
    return tensors


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file and waits for the disk; tensors that share memory are stored apart."""
    data = safetensors.torch.save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    with path.open("wb") as stream:
        stream.write(data)
        os.fsync(stream.fileno())


def digest(tensors: Mapping[str, Tensor], *parts: Any) -> str:
    """sha256 over tensors in the order of their names (name, dtype, shape, bytes) and over JSON values."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        described = canonical_json([name, str(tensor.dtype), list(tensor.shape)]).encode()
        state.update(len(described).to_bytes(8, "little") + described)
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    for part in parts:
        state.update(canonical_json(part).encode() + b"\n")
    return state.hexdigest()
