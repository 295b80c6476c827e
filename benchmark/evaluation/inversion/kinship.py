"""Whether two networks are of one origin: what a judge, an attacker's encoder and the attacked model must not be."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

SHARED = 0.5  # cosine of the weights above which one came from the other; of networks trained apart it is about 0


def kinship(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> float:
    """Cosine between the weights of two networks, over the tensors of equal name and shape; 0 where those are few.

    Fine-tuning moves weights little, so that a model stays close to its parent whatever either is called.  Vectors (biases,
    scales, statistics) are left out: they start alike in every network.
    """
    common = [n for n, t in first.items() if t.dim() > 1 and n in second and second[n].shape == t.shape]
    sizes = [sum(t.numel() for t in side.values() if t.dim() > 1) for side in (first, second)]
    if sum(first[n].numel() for n in common) < 0.5 * max(1, min(sizes)):
        return 0.0
    dot = one = two = 0.0
    for name in common:
        a, b = first[name].detach().double().flatten().cpu(), second[name].detach().double().flatten().cpu()
        dot, one, two = dot + float(a @ b), one + float(a @ a), two + float(b @ b)
    return float(dot / max((one * two) ** 0.5, 1e-30))


def of_one_origin(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether one of the networks was made from the other, or both from a third."""
    return kinship(first, second) > SHARED
