"""EdgeFace, with the module names of the published version: an EdgeNeXt of timm whose linear layers may be of low rank."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from benchmark.interfaces import FaceVeilError

# Channels of the stem -> the model of timm
VARIANTS = {24: "edgenext_xx_small", 32: "edgenext_x_small", 48: "edgenext_small", 80: "edgenext_base"}


class LowRankLinear(nn.Module):
    """A linear layer through ``rank`` numbers (arXiv 2307.01838, section III-B)."""

    def __init__(self, inputs: int, outputs: int, rank: int, bias: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, rank, bias=False)
        self.linear2 = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(self.linear1(x))
        return out


def rank_of(inputs: int, outputs: int, ratio: float) -> int:
    """The rank of a linear layer: a share of its smaller side, at least 2."""
    return max(2, int(min(inputs, outputs) * ratio))


class EdgeFace(nn.Module):
    """EdgeFace (arXiv 2307.01838): images (B, 3, H, W) to embeddings (B, ``embedding_size``), not normalised.

    Args:
        variant: which EdgeNeXt of timm.
        rank_ratio: rank of the linear layers, as a share of their smaller side; 0 leaves them whole.
    """

    def __init__(
        self,
        variant: str = "edgenext_x_small",
        rank_ratio: float = 0.0,
        embedding_size: int = 512,
        input_size: Sequence[int] = (112, 112),
    ) -> None:
        super().__init__()
        if variant not in VARIANTS.values():
            raise FaceVeilError(f"unknown variant {variant!r} of EdgeFace; one of {', '.join(VARIANTS.values())}.")
        import timm

        self.num_features = embedding_size
        self.input_size = tuple(input_size)
        self.model = timm.create_model(variant, pretrained=False, num_classes=embedding_size)
        if rank_ratio:
            _lower_ranks(self.model, rank_ratio)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


def _lower_ranks(module: nn.Module, ratio: float) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            rank = rank_of(child.in_features, child.out_features, ratio)
            setattr(module, name, LowRankLinear(child.in_features, child.out_features, rank, child.bias is not None))
        else:
            _lower_ranks(child, ratio)
