"""Anybody's ``nn.Module`` as a target of attacks: a copy, whatever it returns made an embedding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark.interfaces import Access, BackboneSpec, FaceVeilError
from benchmark.protocol.track import InputSpec
from benchmark.runtime.memory import out_of_memory
from benchmark.signals.target import Target
from benchmark.submissions.submission import Submission
from benchmark.submissions.tensor_file import digest

NAMES = ("embedding", "embeddings", "features", "feature", "image_embeds", "pooler_output", "output")
UNTRAINED_SEED = 7_919_000  # a seed of training would draw the weights that the model started from
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


class EmbeddingModule(nn.Module):
    """A user's module whose answer is one embedding (B, D) a photo.

    Args:
        embed: makes the embedding of what the module returns; by default a tensor (B, D) is taken as it is, (B, D, 1, 1) is
            flattened, and of a tuple, list or dictionary the first such tensor is taken.
        transform: what is done to images in [0, 1] before the module sees them.
    """

    def __init__(
        self, module: nn.Module, embed: Callable[[Any], Tensor] | None, transform: Callable[[Tensor], Tensor] | None
    ) -> None:
        super().__init__()
        self.module = module
        self._embed, self._transform = embed, transform
        self.plain_order = False  # whether it takes images in plain memory order only, as modules do that flatten by `view`

    def forward(self, images: Tensor) -> Tensor:
        inputs = images.contiguous() if self.plain_order else images
        answer = self.module(inputs if self._transform is None else self._transform(inputs))
        embedding = as_embedding(answer) if self._embed is None else self._embed(answer)
        if not isinstance(embedding, Tensor) or embedding.dim() != 2 or len(embedding) != len(images):
            shape = tuple(embedding.shape) if isinstance(embedding, Tensor) else type(embedding).__name__
            raise FaceVeilError(f"embed= must return a tensor ({len(images)}, D) for {len(images)} photos, got {shape}.")
        return embedding.float()


def as_embedding(answer: Any) -> Tensor:
    """The embedding (B, D) in what a module returned.

    Raises:
        FaceVeilError: nothing like one, with what was returned.
    """
    if isinstance(answer, Tensor):
        flat = answer.flatten(1) if answer.dim() == 4 and answer.shape[2:] == (1, 1) else answer
        if flat.dim() == 2:
            return flat
    elif isinstance(answer, Mapping):
        for name in (*NAMES, *answer):
            if isinstance(answer.get(name), Tensor) and answer[name].dim() == 2:
                return cast("Tensor", answer[name])
    elif isinstance(answer, tuple | list):
        for part in answer:
            if isinstance(part, Tensor) and (part.dim() == 2 or (part.dim() == 4 and part.shape[2:] == (1, 1))):
                return as_embedding(part)
    raise FaceVeilError(
        f"the model returns {_shown(answer)}, and not one embedding (B, D) a photo: say how to get it, such as "
        "embed=lambda answer: answer[:, 0] for the first token, or answer.mean((2, 3)) for a feature map."
    )


def _shown(answer: Any) -> str:
    if isinstance(answer, Tensor):
        return f"a tensor {tuple(answer.shape)}"
    if isinstance(answer, Mapping):
        return "a dictionary of " + ", ".join(f"{k}: {_shown(v)}" for k, v in list(answer.items())[:6])
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of " + ", ".join(_shown(v) for v in answer[:6])
    return f"a {type(answer).__name__}"


@dataclass(frozen=True)
class ModuleAsSubmission:
    """What a :class:`Target` reads of a submission, for a module that is none."""

    module: nn.Module
    input: InputSpec
    head: None = None
    card: Any = field(init=False)

    def __post_init__(self) -> None:
        spec = BackboneSpec(name=type(self.module).__name__)
        object.__setattr__(self, "card", SimpleNamespace(backbone=spec, input=self.input, inference=None))

    @property
    def submission_id(self) -> str:
        """Of the weights."""
        return digest({name: t.detach().cpu().contiguous() for name, t in self.module.state_dict().items()})

    def backbone(self) -> nn.Module:
        return self.module


def target_of_module(
    model: nn.Module,
    input: InputSpec,
    *,
    embed: Callable[[Any], Tensor] | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> Target:
    """A copy of ``model`` as a white-box target; the model itself stays as it is.

    Raises:
        FaceVeilError: it cannot be copied, fails on two photos, or returns nothing like an embedding.
    """
    plain = model.module if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) else model
    try:
        module = copy.deepcopy(plain)
    except (RuntimeError, TypeError) as error:
        raise FaceVeilError(
            f"the model cannot be copied ({error}): build it again and load its weights, then audit that."
        ) from None
    wrapped = EmbeddingModule(module, embed, transform).to(device).to(memory_format=torch.channels_last).eval()
    _try_out(wrapped, input, torch.device(device))
    return _in_its_order(Target(cast("Submission", ModuleAsSubmission(wrapped, input)), Access.WEIGHTS, device))


def _in_its_order(target: Target) -> Target:
    """The target's weights in the order of memory that its module bears."""
    if cast("EmbeddingModule", target.backbone).plain_order:
        target.backbone.to(memory_format=torch.contiguous_format)
    return target


def _try_out(wrapped: EmbeddingModule, input: InputSpec, device: torch.device) -> None:
    """Runs two photos through, and takes out normalisation layers they do not pass: a head's, or those of another branch."""
    used: set[nn.Module] = set()
    handles = [m.register_forward_pre_hook(lambda module, _args: used.add(module)) for m in wrapped.modules()]
    photos = torch.rand(2, 3, *input.size, generator=torch.Generator().manual_seed(0)).to(device)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (input.mean, input.std))
    inputs = ((photos - mean) / std).contiguous(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            try:
                answer = wrapped(inputs)
            except RuntimeError:
                wrapped.plain_order = True
                wrapped.to(memory_format=torch.contiguous_format)
                answer = wrapped(inputs)
    except FaceVeilError:
        raise
    except Exception as error:  # anybody's code may raise anything
        if out_of_memory(error):
            raise
        raise FaceVeilError(
            f"the model fails on photos of {input.size[0]} x {input.size[1]} pixels: {type(error).__name__}: {error}. "
            "Say by input_size= (height, width) what it takes, or by transform= what has to be done to images in [0, 1]."
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    if not bool(torch.isfinite(answer).all()):
        raise FaceVeilError("the model returns numbers that are not finite, even for two pictures of noise.")
    for parent in list(wrapped.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NORMS) and child not in used:
                setattr(parent, name, nn.Identity())


def untrained_copy(target: Target, seed: int = 0) -> Target:
    """The same architecture with weights drawn anew, and nothing left of those that were trained."""
    module = copy.deepcopy(target.backbone)
    drawn: set[int] = set()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(UNTRAINED_SEED + seed)
        for layer in module.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
                drawn.update(id(p) for p in layer.parameters(recurse=False))
        for parameter in module.parameters():
            if id(parameter) not in drawn:
                nn.init.trunc_normal_(parameter, std=0.02)
    return _in_its_order(Target(cast("Submission", ModuleAsSubmission(module, target.input)), Access.WEIGHTS, target.device))
