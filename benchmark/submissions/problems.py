"""Why a submission is refused.  The exceptions form a tree by remedy: what its sender has to do again.

SubmissionError
├── PackagingError   pack again: the folder or zip holds what it must not, or lacks what it must
├── CardError        edit card.json
├── WeightsError     save the tensors again, as safetensors of finite floats
└── MismatchError    make the card's backbone and the tensors agree
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmark.interfaces import FaceVeilError

Part = Literal["packaging", "card", "weights", "mismatch", "behaviour"]


class Problem(BaseModel):
    """One thing that is wrong: ``code`` for programs, ``message`` and ``remedy`` for people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Part
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"[{self.code}] {self.message} {self.remedy}"


class SubmissionError(FaceVeilError):
    """A submission is refused; ``problems`` says everything that was found wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the problems, in the order in which they were found."""
        return tuple(problem.code for problem in self.problems)


class PackagingError(SubmissionError):
    """Pack again: the folder or zip holds what it must not, or lacks what it must."""


class CardError(SubmissionError):
    """Edit card.json."""


class WeightsError(SubmissionError):
    """Save the tensors again, as safetensors of finite floats."""


class MismatchError(SubmissionError):
    """Make the card's backbone and the tensors agree."""


_ERRORS: dict[Part, type[SubmissionError]] = {
    "packaging": PackagingError,
    "card": CardError,
    "weights": WeightsError,
    "mismatch": MismatchError,
    "behaviour": SubmissionError,
}


def refusal(problems: Sequence[Problem]) -> SubmissionError:
    """The error for problems (at least one): the class is that of the first, the one to fix first."""
    return _ERRORS[problems[0].part](problems)


def shown(text: object, length: int = 80) -> str:
    """Foreign text made safe to print: ASCII with escapes, quoted, shortened."""
    printed = ascii(text)
    return printed if len(printed) <= length else f"{printed[:length]}..."


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few of many foreign names, and how many there are besides."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + rest
