"""Randomness by purpose: every draw of a run follows from its seed, and nothing touches torch's global state for good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


def derived_seed(seed: int, *labels: int) -> int:
    """A seed for one purpose (``labels``) of a run, unrelated to those for other purposes."""
    return int(np.random.SeedSequence([seed, *labels]).generate_state(1, np.uint64)[0])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global random state set to ``seed`` inside, put back afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def weights_digest(module: nn.Module) -> str:
    """sha256 over names and values of every tensor of a module."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
