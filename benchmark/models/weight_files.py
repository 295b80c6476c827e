"""Files of weights that somebody else wrote: what a file is, what it holds, and the one gate that tensors pass.

No code of a file ever runs: torch's restricted unpickler is given plain containers, numbers and arrays, nothing else.
"""

from __future__ import annotations

import argparse
import codecs
import collections
import datetime
import importlib
import pathlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.zips import DAMAGED_ZIP

# Modules whose functions act on the machine
_SYSTEM = frozenset(
    (
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "shutil",
        "builtins",
        "importlib",
        "runpy",
        "socket",
        "ctypes",
        "pty",
        "webbrowser",
    )
)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COUNTERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
_TWO_LINES = (
    "load it once yourself, where you trust it (this runs its code), and save its weights: "
    'net = torch.load("{name}", map_location="cpu", weights_only=False); torch.save(net.state_dict(), "weights.pt")'
)
# How a file begins -> what it is, and what to do
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-LFS pointer, not the weights themselves: fetch them with `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes: convert it to ONNX (tf2onnx) and import that"),
    (b"\x12\x01\x00\x00\x00\x00\x00\x00", "an MXNet parameter file: convert the network to ONNX (mxnet2onnx) and import that"),
    (b"\x1f\x8b", "a gzip archive: unpack it and import the file inside"),
    (b"BZh", "a bzip2 archive: unpack it and import the file inside"),
    (b"\xfd7zXZ", "an xz archive: unpack it and import the file inside"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it and import the file inside"),
    (b"Rar!", "a RAR archive: unpack it and import the file inside"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive: unpack it and import the file inside"),
    (b"\x93NUMPY", "an array of numpy without names: save a dictionary of named tensors"),
    (b"GGUF", "a GGUF file of a language model, not a face-recognition network"),
    (b"\xff\xd8\xff", "a JPEG picture, not weights"),
    (b"\x89PNG", "a PNG picture, not weights"),
    (b"%PDF", "a PDF document, not weights"),
)
# versions 3 to 19 of the format, then a length or the fields of its maker, its domain, its notes or its graph
_ONNX = re.compile(rb"\x08[\x03-\x13][\x12\x1a\x22\x28\x32\x3a\x42]")
_TEXT = re.compile(rb"[\t\n\r -~]+")
_OTHERS = frozenset((".pb", ".caffemodel", ".mlmodel", ".mnn", ".engine", ".trt", ".tflite", ".keras", ".h5", ".msgpack"))


def read_content(path: Path) -> Any:
    """What the file holds: tensors, numbers, text and containers of them.

    Raises:
        FaceVeilError: what the file is instead, and what to do.
    """
    what = _known(path)
    if what:
        raise FaceVeilError(f"{path} is {what}.")
    try:
        if _is_safetensors(path):
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(_plain_types()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's, about pickles that others wrote
            with path.open("rb") as file:  # torch goes by a file's name, too
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = load_reason(error)
        if "weights_only" in reason or not reason:
            reason = "it is cut off, or no pickle"
        raise FaceVeilError(
            f"{path} is not a file of plain weights, and code in a file is never run ({reason}). {_advice(reason, path)}"
        ) from None
    except MemoryError:
        raise FaceVeilError(f"{path} needs more memory to be read than there is.") from None
    except Exception as error:  # a damaged file ends in whatever its bytes stand for
        raise FaceVeilError(f"{path} cannot be read as PyTorch or safetensors weights: {load_reason(error)}") from None


def load_reason(error: Exception) -> str:
    """What ``torch.load`` objects to, in one line, without its advice to load the file all the same."""
    if isinstance(error, KeyError):  # a byte that stands for nothing
        return "its bytes are no pickle"
    if "deserializing header" in str(error):  # safetensors
        return "it is cut off or damaged: fetch it again"
    if "magic number" in str(error) or "Unsupported operand" in str(error):
        return "its bytes are no pickle of torch.save: load it where you trust it, and save its tensors with torch.save"
    lines = str(error).split("WeightsUnpickler error: ")[-1].splitlines()
    told = [line.strip() for line in lines if line.strip() and "weights_only" not in line]
    return told[0].split(" Please use")[0][:300] if told else "it ends too early"


def _advice(reason: str, path: Path) -> str:
    """What to do about a pickle that asks for ``reason``."""
    asked = re.search(r"GLOBAL ([\w.]+)", reason)
    if asked is None:
        return "Fetch or save it again; where it is whole, save the network's state_dict() or export the network to ONNX."
    if asked[1].split(".")[0] in _SYSTEM:
        return "No network needs this: do not load the file at all."
    lines = _TWO_LINES.format(name=path.name)
    return f"If it holds a whole pickled module, {lines}. Or export the network to ONNX, which holds no code."


def _plain_types() -> list[Any]:
    """What may stand beside weights: options of a training script, paths, dates, and numbers and arrays of numpy."""
    types: list[Any] = [argparse.Namespace, collections.Counter, collections.deque, collections.defaultdict]
    types += [dict, list, set, pathlib.PosixPath, pathlib.PurePosixPath]
    types += [datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone]
    multiarray = importlib.import_module("numpy._core.multiarray")
    types += [codecs.encode, np.ndarray, np.dtype, multiarray._reconstruct, multiarray.scalar]
    for alias, function in (("_reconstruct", multiarray._reconstruct), ("scalar", multiarray.scalar)):
        types.append((function, f"numpy.core.multiarray.{alias}"))  # as older numpy wrote it
    return types + [kind for kind in vars(np.dtypes).values() if isinstance(kind, type)]


def _is_safetensors(path: Path) -> bool:
    """What it holds counts, then what it is called: files are renamed."""
    with path.open("rb") as file:
        start = file.read(9)
    if len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 2**27:
        return True
    return path.suffix.lower() == ".safetensors" and not start.startswith((b"PK\x03\x04", b"\x80"))


def _known(path: Path) -> str:
    """What a file is that holds no weights that can be read here, and what to do; empty: it may hold them."""
    if path.is_dir():
        return "a folder: name the file of weights in it"
    if not path.is_file():
        raise FaceVeilError(f"{path}: no such file.")
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "empty: fetch or save it again"
    for beginning, what in _STARTS:
        if start.startswith(beginning):
            return what
    text = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()  # with a mark, in UTF-8 or UTF-16
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<!--")) or (text.startswith(b"<?xml") and b"<html" in text):
        return "a web page, not weights: the download wants a login or a confirmation; fetch it in a browser"
    if text.startswith(b"<?xml"):
        return "an XML text, such as OpenVINO's, not weights: import the ONNX file that it was made from"
    if text.startswith((b"{", b"[")) and path.suffix.lower() != ".safetensors":
        if b"weight_map" in text or path.name.endswith(".index.json"):
            return "the index of weights in several files: load them together, and save them as one file"
        return "a JSON text, not weights"
    if text.startswith(b"7767517"):
        return "a network of ncnn: import the ONNX file that it was made from"
    if path.suffix.lower() in _OTHERS:
        return f"of another framework ({path.suffix}): export the network to ONNX and import that"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite network: convert it to ONNX (tf2onnx) and import that"
    if _ONNX.match(start):
        return "a network in ONNX by what it holds: give it a name that ends in .onnx"
    if start[257:262] == b"ustar" and not _old_torch(start):
        return "a tar archive: unpack it and import the file inside"
    if start.startswith(b"PK\x03\x04"):
        return _inside_zip(path)
    if _TEXT.fullmatch(start) and not start.startswith(b"("):  # as the oldest pickles do
        return "a text, not weights: perhaps what a server said instead of sending them"
    return ""


def _old_torch(start: bytes) -> bool:
    return start.startswith((b"sys_info", b"pickle", b"./pickle"))  # torch.save before 2017


def _inside_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:10_000]
    except DAMAGED_ZIP:
        return "a zip file that is cut off or damaged: fetch it again"
    tops = {name.split("/", 1)[-1] for name in names}
    if any(name.startswith("code/") for name in tops) or "constants.pkl" in tops:
        return (
            "a TorchScript program, which is code: save its weights, torch.save(torch.jit.load(FILE).state_dict(), OTHER), "
            "or export the network to ONNX"
        )
    if "archive_format" in tops or any(name.endswith(("model.json", "models/model.json")) for name in tops):
        return "a program of torch.export: export the network to ONNX and import that"
    if "data.pkl" in tops:
        return ""
    if any(name.endswith(".weights.h5") for name in names):
        return "a Keras network: convert it to ONNX (tf2onnx) and import that"
    if names and all(name.endswith(".npy") for name in names):
        return "arrays of numpy: save them as a dictionary of named tensors (safetensors.torch.save_file)"
    return "a zip archive: unpack it and import the file inside"


def gate(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The one check after reading: dense tensors on the CPU, floats as float32, counters as they are.

    Raises:
        FaceVeilError: quantised, sparse, complex, 8-bit float or empty (meta) tensors, each named.
    """
    passed, problems = {}, []
    for name, tensor in tensors.items():
        what = _odd(tensor)
        if what:
            problems.append(f"{name} is {what}")
            continue
        tensor = tensor.detach()
        if name.endswith("num_batches_tracked") and tensor.shape == (1,):  # as sharded training gathers a single number
            tensor = tensor[0]
        passed[name] = tensor.float() if tensor.dtype in FLOATS else tensor
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise FaceVeilError(
            f"{path}: {'; '.join(problems[:4])}{more}. Save the float weights of the network before it was quantised or "
            "compressed: {name: tensor.float() for each}, dense and on the CPU."
        )
    return passed


def _odd(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return "quantised"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"not dense ({str(tensor.layout).removeprefix('torch.')})"
    if tensor.device.type != "cpu":
        return f"without numbers (device {tensor.device.type})"
    if tensor.dtype not in FLOATS and tensor.dtype not in COUNTERS:
        return f"of type {str(tensor.dtype).removeprefix('torch.')}"
    return ""
