"""Red flags: each is raised by a backbone that has the fault, and none by a sound one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from submission_factory import make_backbone, make_card, make_submission
from torch import Tensor, nn

from benchmark.submissions.card import Card
from benchmark.submissions.red_flags import REMEDIES, problems_of, red_flags
from benchmark.submissions.report import Flag


@dataclass
class Live:
    """A backbone with its card: what the checks see of a submission, without a file."""

    card: Card
    module: nn.Module

    def backbone(self) -> nn.Module:
        return self.module.eval()


class Around(nn.Module):
    """A backbone whose embeddings go through a function."""

    def __init__(self, change: Callable[[Tensor], Any], backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.inner = backbone or make_backbone()
        self.change = change

    def forward(self, images: Tensor) -> Any:
        return self.change(self.inner(images))


def flags_of(module: nn.Module, **card: Any) -> dict[str, Flag]:
    return {flag.name: flag for flag in red_flags(Live(make_card(**card), module))}  # type: ignore[arg-type]


def unlimited(embeddings: Tensor) -> Tensor:
    return embeddings / 0


def fail(embeddings: Tensor) -> Tensor:
    raise KeyError("stage 3")


FAULTS: dict[str, tuple[Callable[[Tensor], Any], list[str], str]] = {
    "noise inside": (lambda e: e + 0.1 * torch.randn_like(e), ["random_output"], "error"),
    "rounding": (lambda e: torch.where(e < e.median(), -1.0, 1.0), ["zero_gradient"], "error"),
    "detached": (lambda e: e.detach(), ["zero_gradient"], "error"),
    "infinite": (unlimited, ["not_finite"], "error"),
    "constant": (lambda e: 0 * e + 1, ["constant_output", "zero_gradient"], "error"),
    "all zero": (lambda e: 0 * e, ["constant_output", "zero_gradient"], "error"),
    "too long": (lambda e: torch.cat([e, e], 1), ["wrong_embedding_size"], "error"),
    "maps": (lambda e: e[:, :, None, None], ["wrong_embedding_size"], "error"),
    "a tuple": (lambda e: (e, e), ["wrong_embedding_size"], "error"),
    "coupled": (lambda e: e - e.mean(0), ["coupled_photos"], "error"),
    "dead": (lambda e: e * (torch.arange(16) < 4), ["dead_dimensions"], "warning"),
    "failing": (fail, ["forward_failed"], "error"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_raises_its_flag_and_no_other(case: str) -> None:
    change, names, severity = FAULTS[case]
    flags = flags_of(Around(change))
    assert sorted(flags) == sorted(names)
    assert flags[names[0]].severity == severity


def test_want_of_memory_is_no_fault_of_the_backbone() -> None:
    def allocate(_: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9000000000 bytes.")

    with pytest.raises(MemoryError):
        flags_of(Around(allocate))


def test_photos_that_share_an_embedding() -> None:
    """A backbone that sees the left half alone is given photos that differ in the right one."""

    class LeftHalf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_backbone()

        def forward(self, images: Tensor) -> Tensor:
            seen = torch.zeros_like(images)
            half = images.shape[-1] // 2
            seen[..., :half] = images[..., :half]
            return self.inner(seen)

    height, width = make_card().input.size
    probes = torch.randint(0, 256, (6, 3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    probes[1, ..., : width // 2] = probes[0, ..., : width // 2]
    flags = red_flags(Live(make_card(), LeftHalf()), probes)  # type: ignore[arg-type]
    assert [(flag.name, flag.severity) for flag in flags] == [("duplicate_embeddings", "warning")]


def test_a_sound_backbone_has_no_flag() -> None:
    assert flags_of(make_backbone()) == {}
    assert flags_of(Around(nn.functional.normalize)) == {}, "embeddings of unit length have a gradient"


def test_flags_are_the_same_each_time_and_leave_the_random_state() -> None:
    before = torch.random.get_rng_state()
    backbone = Around(lambda e: e * (torch.arange(16) < 4), make_backbone())
    assert flags_of(backbone) == flags_of(backbone)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_given_photos_are_used() -> None:
    photos = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    live = Live(make_card(), make_backbone())
    assert [flag.name for flag in red_flags(live, photos)] == ["constant_output"]  # type: ignore[arg-type]


def norms(kind: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2), kind(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("kind", "declared", "fits"),
    [
        (lambda: nn.GroupNorm(4, 16), "group", True),
        (lambda: nn.GroupNorm(4, 16), "batch", False),
        (lambda: nn.GroupNorm(4, 16), "none", False),
        (lambda: nn.LayerNorm([15, 15]), "layer", True),
        (nn.Identity, "none", True),
        (nn.Identity, "layer", False),
        (lambda: nn.Sequential(nn.LayerNorm([15, 15]), nn.BatchNorm2d(16)), "batch", True),
        (lambda: nn.Sequential(nn.LayerNorm([15, 15]), nn.BatchNorm2d(16)), "layer", False),
    ],
)
def test_the_declared_norm_is_compared_with_the_modules(kind: Callable[[], nn.Module], declared: str, fits: bool) -> None:
    assert ("norm_mismatch" not in flags_of(norms(kind), norm=declared)) == fits


def test_batchnorm_without_training_is_told_from_statistics_that_were_set() -> None:
    layers = [nn.BatchNorm2d(16), nn.BatchNorm2d(16)]
    backbone = norms(lambda: nn.Sequential(*layers))
    assert flags_of(backbone)["bn_never_updated"].severity == "error"
    layers[0].running_mean = torch.full((16,), 0.1)
    flags = flags_of(backbone)
    assert flags["bn_never_updated"].severity == "warning"
    assert "1 of 2" in flags["bn_never_updated"].reason
    assert flags["bn_not_counted"].severity == "info"
    layers[1].running_mean = torch.full((16,), 0.1)
    for layer in layers:
        layer.num_batches_tracked = torch.tensor(1)
    assert flags_of(backbone) == {}


def test_errors_become_problems_with_a_remedy_and_warnings_do_not() -> None:
    errors = {name for _, names, severity in FAULTS.values() for name in names if severity == "error"}
    assert errors | {"bn_never_updated", "norm_mismatch"} == set(REMEDIES)
    flags = [Flag(name="twins", severity="warning", reason="r"), Flag(name="not_finite", severity="error", reason="why")]
    assert [(p.code, p.message, p.remedy) for p in problems_of(flags)] == [("not_finite", "why", REMEDIES["not_finite"])]


def test_a_packed_submission_is_checked(tmp_path: Path) -> None:
    assert red_flags(make_submission(tmp_path / "entry")) == ()
