"""Secrets of rounds: what the photos of a round are drawn from, kept in ``rounds`` in the home until they are revealed.

The sha256 of a secret names its round and is published before anything is submitted.  When the round has ended the secret is
published, and anybody who adds it can draw the photos again and repeat every evaluation.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.home import home
from benchmark.runtime.secret import new_secret, secret_from, write_secret

SHORT = 12  # hexadecimal digits of a round's name that a track's name ends with


class Round(NamedTuple):
    """A round whose secret is here: ``name`` is the secret's sha256 (64 hexadecimal digits)."""

    name: str
    secret: bytes


def _folder() -> Path:
    return home() / "rounds"


def new_round() -> Round:
    """A round with a new secret; whoever reads its file can draw the round's photos."""
    return add_round(new_secret())


def add_round(text: str) -> Round:
    """Keeps a secret, such as one that was revealed, given in hexadecimal digits.

    Raises:
        FaceVeilError: it is none.
    """
    secret = secret_from(text)
    if secret is None:
        raise FaceVeilError("a round's secret has 64 hexadecimal digits or more; copy it whole from `faceveil round list`.")
    name = hashlib.sha256(secret).hexdigest()
    write_secret(_folder() / f"{name}.secret", secret.hex())
    return Round(name, secret)


def known_rounds() -> list[str]:
    """Names of the rounds whose secrets are here."""
    return sorted(path.stem for path in _folder().glob("*.secret"))


def find_round(start: str) -> Round:
    """The round whose name begins with ``start``.

    Raises:
        FaceVeilError: its secret is not here, was damaged, or several begin so.
    """
    found = [name for name in known_rounds() if name.startswith(start)]
    if len(found) != 1:
        what = "the secrets of several rounds here begin" if found else "no secret here is of a round that begins"
        raise FaceVeilError(
            f"{what} with {start!r}. `faceveil round new` begins one; `faceveil round add SECRET` adds one that was revealed."
        )
    path = _folder() / f"{found[0]}.secret"
    secret = secret_from(path.read_text(encoding="ascii", errors="replace"))
    if secret is None or hashlib.sha256(secret).hexdigest() != found[0]:
        raise FaceVeilError(f"{path} is damaged: it does not hold the secret whose sha256 it is named by. Restore that file.")
    return Round(found[0], secret)
