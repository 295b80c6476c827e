"""Noise that nobody can draw again: its seeds follow from a secret of this installation, and not from what is published.

A card names the seed of its training, so that it can be repeated.  Were the noise of a release drawn from that seed, whoever
holds the card could draw it again and subtract it.  The secret is made when it is first needed, in ``noise.secret`` in the home
(or where ``FACEVEIL_NOISE_SECRET`` says); cards carry its sha256, so that it can be revealed when a round has ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Any

from benchmark.interfaces import FaceVeilError, canonical_json
from benchmark.runtime.home import home

_BYTES = 32


def secret_path() -> Path:
    """Where the secret is kept; whoever reads it can undo the noise."""
    return Path(os.environ.get("FACEVEIL_NOISE_SECRET") or home() / "noise.secret").expanduser()


def _secret() -> bytes:
    path = secret_path()
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        text = _made(path)
    except UnicodeDecodeError:
        text = ""
    found = secret_from(text)
    if found is None:
        raise FaceVeilError(f"{path} holds no secret of {_BYTES} bytes in hexadecimal digits: restore it, or remove the file.")
    return found


def secret_from(text: str) -> bytes | None:
    """The secret that hexadecimal digits stand for; None: they stand for none, or for one that could be guessed."""
    try:
        found = bytes.fromhex(text.strip())
    except ValueError:
        return None
    return found if len(found) >= _BYTES else None


def new_secret() -> str:
    """A secret that nobody can guess, in hexadecimal digits."""
    return secrets.token_hex(_BYTES)


def _made(path: Path) -> str:
    write_secret(path, new_secret())
    return path.read_text(encoding="ascii")


def write_secret(path: Path, text: str) -> None:
    """Writes a secret for its owner alone; where there is a file it stays: of two processes that make one, the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(mine, path)  # whole, and never over another
    finally:
        mine.unlink(missing_ok=True)


def noise_seed(*labels: Any) -> int:
    """A seed (63 bits) for noise that is named by ``labels`` (JSON data)."""
    return number_of(_secret(), *labels)


def number_of(secret: bytes, *labels: Any) -> int:
    """A number (63 bits) that nobody can tell without the secret, named by ``labels`` (JSON data)."""
    digest = hmac.new(secret, canonical_json(list(labels)).encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def secret_hash() -> str:
    """The sha256 of the secret, for cards."""
    return hashlib.sha256(_secret()).hexdigest()
