"""What an attacker is given: a submission narrowed to an access level, which raises beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmark import inference
from benchmark.interfaces import Access, AccessError
from benchmark.preprocessing import to_input
from benchmark.protocol import InputSpec

if TYPE_CHECKING:
    from benchmark.submission import Submission


class Target:
    """A deployed backbone as an attacker with ``access`` meets it.

    ``embed`` gives what the system returns, after its inference transform.  ``backbone`` (the module: maps, statistics,
    gradients, embeddings before the transform) needs ``weights``; ``head`` needs ``head``.
    """

    def __init__(self, submission: Submission, access: Access, device: torch.device | str = "cpu", seed: int = 0) -> None:
        self.access = access
        self.device = torch.device(device)
        self.submission_id = submission.submission_id
        self.input: InputSpec = submission.card.input
        self._backbone = submission.backbone().to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self._head = submission.head
        self._inference = inference.parse(dict(submission.card.inference) if submission.card.inference else None)
        self._generator = torch.Generator(device=self.device).manual_seed(seed)

    def require(self, needed: Access, what: str) -> None:
        """Raises :class:`AccessError` unless this target's access allows ``needed``."""
        if not self.access.allows(needed):
            raise AccessError(f"{what} needs {needed.value!r} access, this attack declared {self.access.value!r}.")

    @property
    def backbone(self) -> nn.Module:
        """The module itself; frozen, in evaluation mode."""
        self.require(Access.WEIGHTS, "the backbone's module")
        return self._backbone

    @property
    def head(self) -> dict[str, Tensor]:
        """The training head's tensors, where the submission has one."""
        self.require(Access.HEAD, "the training head")
        if self._head is None:
            raise AccessError("this submission was handed in without its training head (head.safetensors).")
        return self._head

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings (B, D) of normalised inputs before the transform; for the harness, which has checked the access."""
        return self._backbone(inputs)

    def transform(self, embeddings: Tensor) -> Tensor:
        """The card's inference transform."""
        return embeddings if self._inference is None else self._inference.apply(embeddings, self._generator)

    def embed(self, images: Tensor) -> Tensor:
        """What the deployed system returns for images (B, 3, H, W), uint8 or float in [0, 1]: (B, D)."""
        self.require(Access.EMBEDDING, "an embedding")
        return self.transform(self.forward(to_input(images.to(self.device), self.input)))
