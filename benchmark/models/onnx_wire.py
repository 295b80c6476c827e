"""The bytes of an ONNX file as plain data, read by ourselves because nobody vouches for them.

A protobuf library gives memory to whatever a file declares before anybody can look at it: a megabyte of empty nodes becomes a
hundred.  Here every field is counted, every length lies inside its parent, tensors stay views of the file until they are asked
for, and nothing nests deeper than the format's own fixed levels, because subgraphs are never entered.  Field numbers are those
of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.interfaces import FaceVeilError

MAX_FIELDS = 500_000  # in the whole file
MAX_NODES = 5_000
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 8
MAX_NAME = 512  # bytes
MAX_LIST = 65_536  # numbers in one attribute

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1  # TensorProto.data_location
# TensorProto.data_type -> torch's type, numpy's type of raw_data
_TYPES: dict[int, tuple[torch.dtype, str]] = {
    1: (torch.float32, "<f4"),
    2: (torch.uint8, "u1"),
    3: (torch.int8, "i1"),
    5: (torch.int16, "<i2"),
    6: (torch.int32, "<i4"),
    7: (torch.int64, "<i8"),
    9: (torch.bool, "?"),
    10: (torch.float16, "<f2"),
    11: (torch.float64, "<f8"),
    16: (torch.bfloat16, "<u2"),
}
_UINT4, _INT4 = 21, 22
_NAMES = {4: "uint16", 8: "string", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 17: "float8_e4m3fn"}

External = Callable[[str, int, int | None], bytes]  # location, offset, length -> bytes


class OnnxError(FaceVeilError):
    """The file is no ONNX network that can be read here; the message says why and what to do."""


def shown(name: object, length: int = 80) -> str:
    """A name out of the file, safe to print."""
    text = ascii(name)
    return text if len(text) <= length else f"{text[:length]}..."


@dataclass
class OnnxTensor:
    """A tensor as the file declares it; ``tensor()`` gives it memory."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0
    raw: memoryview | None = None
    numbers: np.ndarray | None = None  # from the typed fields, where raw_data is not used
    external: dict[str, str] = field(default_factory=dict)
    resolve: External | None = None

    @property
    def elements(self) -> int:
        """How many numbers it declares."""
        return math.prod(self.dims)

    def tensor(self) -> Tensor:
        """The numbers, in memory of their own.

        Raises:
            OnnxError: a type that is not read, or fewer or more bytes than the shape needs.
        """
        where = f"tensor {shown(self.name)}"
        if self.type in (_UINT4, _INT4):
            return self._four_bits(where)
        if self.type not in _TYPES:
            raise OnnxError(f"{where} is of type {_NAMES.get(self.type, self.type)}, which is not read here.")
        dtype, code = _TYPES[self.type]
        data = self._bytes(where)
        if data is None:
            array = self._typed(code, where)
        elif len(data) != self.elements * np.dtype(code).itemsize:
            raise OnnxError(f"{where} declares shape {self.dims} but holds {len(data)} bytes.")
        else:
            array = np.frombuffer(data, code)
        copied = torch.from_numpy(array.copy())
        if dtype is torch.bfloat16:
            copied = copied.view(torch.int16).view(torch.bfloat16)
        return copied.reshape(self.dims)

    def _bytes(self, where: str) -> memoryview | bytes | None:
        if not self.external:
            return self.raw
        if self.resolve is None:
            raise OnnxError(
                f"{where} lies in another file, {shown(self.external.get('location', ''))}: "
                "export the network as one file (torch.onnx.export(..., external_data=False))."
            )
        try:
            offset, length = int(self.external.get("offset", 0)), self.external.get("length")
            count = None if length is None else int(length)
        except ValueError:
            raise OnnxError(f"{where} lies at a place that is no number.") from None
        return self.resolve(self.external.get("location", ""), offset, count)

    def _typed(self, code: str, where: str) -> np.ndarray:
        numbers = np.zeros(0) if self.numbers is None else self.numbers
        if len(numbers) != self.elements:
            raise OnnxError(f"{where} declares shape {self.dims} but holds {len(numbers)} numbers.")
        if self.type == 10:  # float16 as bits
            return numbers.astype(np.uint16).view("<f2")
        return numbers.astype(code)

    def _four_bits(self, where: str) -> Tensor:
        data = self._bytes(where)
        packed = np.frombuffer(data, np.uint8) if data is not None else np.asarray(self.numbers or [], np.uint8)
        if len(packed) != (self.elements + 1) // 2:
            raise OnnxError(f"{where} declares shape {self.dims} but holds {len(packed)} bytes.")
        halves = np.stack([packed & 15, packed >> 4], 1).reshape(-1)[: self.elements].astype(np.int8)
        if self.type == _INT4:
            halves = np.where(halves > 7, halves - 16, halves).astype(np.int8)
        return torch.from_numpy(halves).reshape(self.dims)


@dataclass
class OnnxNode:
    """One operator: its inputs and outputs by name ("" is an input that was left out)."""

    op: str = ""
    domain: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class OnnxValue:
    """A graph input or output; dimensions are numbers or None (symbolic or unknown); None: no shape at all."""

    name: str = ""
    dims: list[int | None] | None = None


@dataclass
class OnnxModel:
    """What a network needs of an ONNX file."""

    opset: int = 0
    producer: str = ""
    nodes: list[OnnxNode] = field(default_factory=list)
    tensors: dict[str, OnnxTensor] = field(default_factory=dict)
    inputs: list[OnnxValue] = field(default_factory=list)
    outputs: list[OnnxValue] = field(default_factory=list)


class _Reader:
    """Fields of messages, counted over the whole file."""

    def __init__(self, resolve: External | None) -> None:
        self.left = MAX_FIELDS
        self.resolve = resolve

    def fields(self, data: memoryview) -> Iterator[tuple[int, int, Any]]:
        """Number, wire type and value (int, or a view of bytes) of every field of a message."""
        position, end = 0, len(data)
        while position < end:
            self.left -= 1
            if self.left < 0:
                raise OnnxError(f"more than {MAX_FIELDS:,} fields.")
            key, position = _varint(data, position)
            number, wire = key >> 3, key & 7
            if wire == _VARINT:
                value, position = _varint(data, position)
                yield number, wire, value
                continue
            if wire == _BYTES:
                length, position = _varint(data, position)
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise OnnxError(f"wire type {wire}, which no ONNX file has.")
            if length > end - position:
                raise OnnxError("a field is longer than what holds it: the file is cut off or damaged.")
            yield number, wire, data[position : position + length]
            position += length

    def model(self, data: memoryview) -> OnnxModel:
        model, graphs = OnnxModel(), []
        for number, wire, value in self.fields(data):
            if number == 7 and wire == _BYTES:
                graphs.append(value)
            elif number == 2 and wire == _BYTES:
                model.producer = _text(value)
            elif number == 8 and wire == _BYTES:
                self._opset(value, model)
        if len(graphs) != 1:
            raise OnnxError(f"{len(graphs)} graphs where an ONNX model has one.")
        self._graph(graphs[0], model)
        return model

    def _opset(self, data: memoryview, model: OnnxModel) -> None:
        domain, version = "", 0
        for number, wire, value in self.fields(data):
            if number == 1 and wire == _BYTES:
                domain = _text(value)
            elif number == 2 and wire == _VARINT:
                version = value
        if domain in ("", "ai.onnx"):
            model.opset = version

    def _graph(self, data: memoryview, model: OnnxModel) -> None:
        for number, wire, value in self.fields(data):
            if wire != _BYTES:
                continue
            if number == 1:
                model.nodes.append(self._node(value))
            elif number == 5:
                tensor = self._tensor(value)
                if tensor.name in model.tensors:
                    raise OnnxError(f"tensor {shown(tensor.name)} stands in it twice.")
                model.tensors[tensor.name] = tensor
            elif number in (11, 12):
                (model.inputs if number == 11 else model.outputs).append(self._value(value))
            elif number == 15:
                raise OnnxError("sparse tensors, which are not read here.")
            if max(len(model.nodes) / MAX_NODES, len(model.tensors) / MAX_TENSORS) > 1:
                raise OnnxError(f"more than {MAX_NODES:,} operators or {MAX_TENSORS:,} tensors.")

    def _node(self, data: memoryview) -> OnnxNode:
        node = OnnxNode()
        for number, wire, value in self.fields(data):
            if wire != _BYTES:
                continue
            if number in (1, 2):
                (node.inputs if number == 1 else node.outputs).append(_text(value))
            elif number == 3:
                node.name = _text(value)
            elif number == 4:
                node.op = _text(value)
            elif number == 7:
                node.domain = _text(value)
            elif number == 5:
                name, content = self._attribute(value)
                node.attributes[name] = content
        return node

    def _attribute(self, data: memoryview) -> tuple[str, Any]:
        name, kind, single = "", 0, {}
        floats: list[float] = []
        ints: list[int] = []
        for number, wire, value in self.fields(data):
            if number == 1 and wire == _BYTES:
                name = _text(value)
            elif number == 20 and wire == _VARINT:
                kind = value
            elif number == 7:
                floats.extend(struct.unpack(f"<{len(value) // 4}f", value[: len(value) // 4 * 4]) if wire != _VARINT else ())
            elif number == 8:
                ints.extend([_signed(value)] if wire == _VARINT else map(int, _varints(value).view(np.int64)))
            elif number == 2 and wire == _FIXED32:
                single[1] = struct.unpack("<f", value)[0]
            elif number == 3 and wire == _VARINT:
                single[2] = _signed(value)
            elif number == 4 and wire == _BYTES:
                single[3] = _text(value)
            elif number == 5 and wire == _BYTES:
                single[4] = self._tensor(value)
            if len(floats) + len(ints) > MAX_LIST:
                raise OnnxError(f"attribute {shown(name)} holds more than {MAX_LIST} numbers.")
        if kind in (6, 7):
            return name, floats if kind == 6 else ints
        # a value that stands for its type's zero is not written
        return name, single.get(kind, {1: 0.0, 2: 0, 3: ""}.get(kind))

    def _tensor(self, data: memoryview) -> OnnxTensor:
        tensor = OnnxTensor(resolve=self.resolve)
        numbers: list[np.ndarray] = []
        external = False
        for number, wire, value in self.fields(data):
            if number == 1:
                dims = [value] if wire == _VARINT else _varints(value).tolist()
                tensor.dims.extend(_signed(int(d)) for d in dims)
            elif number == 2 and wire == _VARINT:
                tensor.type = value
            elif number == 8 and wire == _BYTES:
                tensor.name = _text(value)
            elif number == 9 and wire == _BYTES:
                tensor.raw = value
            elif number in (4, 10):
                code = "<f4" if number == 4 else "<f8"
                if wire == _VARINT or len(value) % np.dtype(code).itemsize:
                    raise OnnxError(f"tensor {shown(tensor.name)} holds half a number.")
                numbers.append(np.frombuffer(value, code))
            elif number in (5, 7, 11):
                packed = np.asarray([value], np.uint64) if wire == _VARINT else _varints(value)
                numbers.append(packed.view(np.int64))
            elif number == 13 and wire == _BYTES:
                self._external(value, tensor)
            elif number == 14 and wire == _VARINT:
                external = value == _EXTERNAL
            if len(tensor.dims) > MAX_DIMENSIONS:
                raise OnnxError(f"tensor {shown(tensor.name)} has more than {MAX_DIMENSIONS} dimensions.")
        if any(not 0 <= d < 2**32 for d in tensor.dims) or tensor.elements > 2**32:
            raise OnnxError(f"tensor {shown(tensor.name)} declares shape {tensor.dims}.")
        if not external:
            tensor.external = {}
        if numbers:
            tensor.numbers = np.concatenate(numbers)
        return tensor

    def _external(self, data: memoryview, tensor: OnnxTensor) -> None:
        entry = {number: _text(value) for number, wire, value in self.fields(data) if wire == _BYTES}
        tensor.external[entry.get(1, "")] = entry.get(2, "")

    def _value(self, data: memoryview) -> OnnxValue:
        result = OnnxValue()
        for number, wire, value in self.fields(data):
            if number == 1 and wire == _BYTES:
                result.name = _text(value)
            elif number == 2 and wire == _BYTES:
                for kind, inner_wire, inner in self.fields(value):
                    if kind == 1 and inner_wire == _BYTES:
                        self._shape(inner, result)
        return result

    def _shape(self, data: memoryview, result: OnnxValue) -> None:
        for number, wire, value in self.fields(data):
            if number != 2 or wire != _BYTES:
                continue
            result.dims = []
            for inner, inner_wire, dimension in self.fields(value):
                if inner == 1 and inner_wire == _BYTES:
                    sizes = [v for n, w, v in self.fields(dimension) if n == 1 and w == _VARINT]
                    result.dims.append(sizes[-1] if sizes and 0 < sizes[-1] < 2**31 else None)


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise OnnxError("the file is cut off or damaged.")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position
        shift += 7


def _varints(data: memoryview) -> np.ndarray:
    """All varints of a packed field, as uint64."""
    octets = np.frombuffer(data, np.uint8)
    if not len(octets):
        return np.zeros(0, np.uint64)
    ends = np.flatnonzero(octets < 0x80)
    if not len(ends) or ends[-1] != len(octets) - 1:
        raise OnnxError("the file is cut off or damaged.")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise OnnxError("a number of more than 64 bits.")
    values = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max())):
        here = lengths > k
        values[here] |= (octets[starts[here] + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
    return values


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _text(data: memoryview) -> str:
    if len(data) > MAX_NAME:
        return bytes(data[:MAX_NAME]).decode("utf-8", "replace")
    return bytes(data).decode("utf-8", "replace")


def read_wire(data: bytes | memoryview, resolve: External | None = None) -> OnnxModel:
    """The operators and tensors of an ONNX file.

    Args:
        resolve: gives bytes of tensors that lie in other files; None refuses those.

    Raises:
        OnnxError: not an ONNX file, damaged, or past the bounds.
    """
    model = _Reader(resolve).model(memoryview(data))
    if not model.nodes:
        raise OnnxError("no operators: this is not an ONNX network.")
    return model
