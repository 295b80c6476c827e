"""Checkpoints in the two published layouts, built from a generator of ours by names and shapes written out here."""

from __future__ import annotations

import math
import pickle
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
FILTER = torch.outer(TAPS, TAPS) / 64
SMALL = {"z_dim": 10, "w_dim": 12, "mapping_layers": 8, "channel_base": 512, "channel_max": 16}


def sizes(resolution):
    return [2**p for p in range(2, int(math.log2(resolution)) + 1)]


def shapes_of_nvlabs(resolution, z_dim, w_dim, mapping_layers, channel_base, channel_max):
    """Every name and shape of G_ema in NVlabs' stylegan2-ada-pytorch."""
    shapes = {"mapping.w_avg": (w_dim,)}
    for n in range(mapping_layers):
        shapes[f"mapping.fc{n}.weight"] = (w_dim, z_dim if n == 0 else w_dim)
        shapes[f"mapping.fc{n}.bias"] = (w_dim,)
    before = 0
    for size in sizes(resolution):
        block, width = f"synthesis.b{size}", min(channel_base // size, channel_max)
        shapes[f"{block}.resample_filter"] = (4, 4)
        if size == 4:
            shapes[f"{block}.const"] = (width, 4, 4)
        for layer, inputs in ([("conv0", before)] if before else []) + [("conv1", width)]:
            shapes[f"{block}.{layer}.weight"] = (width, inputs, 3, 3)
            shapes[f"{block}.{layer}.bias"] = (width,)
            shapes[f"{block}.{layer}.noise_strength"] = ()
            shapes[f"{block}.{layer}.noise_const"] = (size, size)
            shapes[f"{block}.{layer}.resample_filter"] = (4, 4)
            shapes[f"{block}.{layer}.affine.weight"] = (inputs, w_dim)
            shapes[f"{block}.{layer}.affine.bias"] = (inputs,)
        shapes[f"{block}.torgb.weight"] = (3, width, 1, 1)
        shapes[f"{block}.torgb.bias"] = (3,)
        shapes[f"{block}.torgb.affine.weight"] = (width, w_dim)
        shapes[f"{block}.torgb.affine.bias"] = (width,)
        before = width
    return shapes


def shapes_of_rosinality(resolution, z_dim, w_dim, mapping_layers, channel_base, channel_max):
    """Every name and shape of g_ema in rosinality's stylegan2-pytorch (there, z and w have one size)."""
    shapes = {}
    for n in range(1, mapping_layers + 1):
        shapes[f"style.{n}.weight"] = (w_dim, z_dim if n == 1 else w_dim)
        shapes[f"style.{n}.bias"] = (w_dim,)

    def styled(name, inputs, outputs, up):
        shapes[f"{name}.conv.weight"] = (1, outputs, inputs, 3, 3)
        if up:
            shapes[f"{name}.conv.blur.kernel"] = (4, 4)
        shapes[f"{name}.conv.modulation.weight"] = (inputs, w_dim)
        shapes[f"{name}.conv.modulation.bias"] = (inputs,)
        shapes[f"{name}.noise.weight"] = (1,)
        shapes[f"{name}.activate.bias"] = (outputs,)

    def rgb(name, inputs, up):
        shapes[f"{name}.bias"] = (1, 3, 1, 1)
        if up:
            shapes[f"{name}.upsample.kernel"] = (4, 4)
        shapes[f"{name}.conv.weight"] = (1, 3, inputs, 1, 1)
        shapes[f"{name}.conv.modulation.weight"] = (inputs, w_dim)
        shapes[f"{name}.conv.modulation.bias"] = (inputs,)

    width = min(channel_base // 4, channel_max)
    shapes["input.input"] = (1, width, 4, 4)
    styled("conv1", width, width, up=False)
    rgb("to_rgb1", width, up=False)
    shapes["noises.noise_0"] = (1, 1, 4, 4)
    for n, size in enumerate(sizes(resolution)[1:]):
        before, width = width, min(channel_base // size, channel_max)
        styled(f"convs.{2 * n}", before, width, up=True)
        styled(f"convs.{2 * n + 1}", width, width, up=False)
        rgb(f"to_rgbs.{n}", width, up=True)
        shapes[f"noises.noise_{2 * n + 1}"] = shapes[f"noises.noise_{2 * n + 2}"] = (1, 1, size, size)
    return shapes


def random_tensors(shapes, seed=0):
    """Tensors of these names and shapes: the filters as published, everything else random."""
    torch.manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        state[name] = torch.randn(shape) if shape else torch.randn(())
        if name.endswith("resample_filter"):
            state[name] = FILTER.clone()
        elif name.endswith("kernel"):
            state[name] = FILTER * 4
    return state


@contextmanager
def foreign_modules():
    """NVlabs' helper modules by name, so that a pickle can refer to them as theirs do; gone afterwards."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")
    names = {
        "torch_utils": types.ModuleType("torch_utils"),
        "torch_utils.persistence": persistence,
        "dnnlib": types.ModuleType("dnnlib"),
        "dnnlib.util": util,
    }

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("the reader called the foreign code")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj
    util.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    sys.modules.update(names)
    try:
        yield persistence._reconstruct_persistent_obj, util.EasyDict
    finally:
        for name in names:
            del sys.modules[name]


class _Persistent:
    """Pickles as torch_utils.persistence has it: a function of the class's source and the module's attributes."""

    def __init__(self, function, source, state):
        self.function, self.source, self.state = function, source, state

    def __reduce__(self):
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": "Any", "state": self.state}
        return self.function, (meta,)


def _tree(tensors):
    """Nested modules as {name: (own tensors, children)}."""
    own, children = {}, {}
    for name, tensor in tensors.items():
        first, dot, rest = name.partition(".")
        if dot:
            children.setdefault(first, {})[rest] = tensor
        else:
            own[first] = tensor
    return own, children


def write_nvlabs(path, state, source="", attributes=None):
    """A .pkl with G, D and G_ema; ``attributes`` are further ones by module name ("" is the generator)."""
    buffers = {"w_avg", "noise_const", "resample_filter"}
    attributes = attributes or {}
    with foreign_modules() as (function, easy):

        def module(tensors, name=""):
            own, children = _tree(tensors)
            held = {
                "_parameters": OrderedDict((n, nn.Parameter(t, False)) for n, t in own.items() if n not in buffers),
                "_buffers": OrderedDict((n, t) for n, t in own.items() if n in buffers),
                "_non_persistent_buffers_set": set(),
                "_backward_hooks": OrderedDict(),
                "_modules": OrderedDict((n, module(t, f"{name}.{n}".lstrip("."))) for n, t in children.items()),
                "training": False,
                "_init_args": (),
                "_init_kwargs": easy(c_dim=0),
                "weight_gain": 0.01 / np.sqrt(12.0),
                "act_gain": np.sqrt(2),
                **attributes.get(name, {}),
            }
            return _Persistent(function, source, held)

        content = {
            "training_set_kwargs": easy(path="faces.zip"),
            "G": module(state),
            "D": module({"b4.out.weight": torch.zeros(1, 3)}),
            "G_ema": module(state),
            "augment_pipe": None,
        }
        with path.open("wb") as file:
            pickle.dump(content, file)
    return path
