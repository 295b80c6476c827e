"""A sweep file: a grid of entries as YAML, unrolled into what has to be trained and evaluated.

```yaml
summary: two defences, two strengths
track: synthetic-quick
seeds: [0, 1]
entries:
  - defense: undefended
  - defense: bn_perturbation
    set: {rho: [0.1, 0.5]}                 # a list spans a grid
  - defense: norm_swap+label_smoothing
    set: {norm_swap.norm: [group, none]}
  - defense: bn_*                          # every defence of such a name, with its defaults
  - defense: undefended
    head: [softmax, cosface]               # factors: another variant of the track
    norm: [batch, group]
    seen: [2, 4]
```
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from benchmark.interfaces import BackboneSpec, DefenseSpec, FaceVeilError, content_hash, unknown
from benchmark.models.normalisation import NORMS, named
from benchmark.protocol.registry import defenses
from benchmark.protocol.track import Track
from benchmark.protocol.tracks import get_track
from benchmark.protocol.variants import variant
from benchmark.training.composition import Composition, compose, parse_defenses

MOST_ENTRIES = 2000


class SweepFileError(FaceVeilError):
    """A sweep file that cannot be read as one."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


class Block(_Model):
    """A part of the grid.  Every value may be a list; what is left out is the sweep's, or the track's."""

    defense: tuple[str, ...] = ("undefended",)
    settings: Mapping[str, Any] = Field(default_factory=dict, alias="set")
    track: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    norm: tuple[str, ...] = ()
    head: tuple[str | None, ...] = (None,)
    photos: tuple[int | None, ...] = (None,)
    epochs: tuple[int | None, ...] = (None,)
    data: tuple[Path | None, ...] = (None,)
    init: tuple[Path | None, ...] = (None,)

    @field_validator("defense", "track", "seeds", "norm", "head", "photos", "epochs", "data", "init", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("data", "init")
    @classmethod
    def _expanded(cls, value: tuple[Path | None, ...]) -> tuple[Path | None, ...]:
        """``~`` is the user's home, as in a shell."""
        return tuple(None if path is None else path.expanduser() for path in value)


class SweepFile(_Model):
    """The whole file.  ``shadows`` gives all entries' attackers another number of their own than the track."""

    summary: str = ""
    track: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    team: str = "FaceVeil"
    shadows: int | None = None
    entries: tuple[Block, ...] = Field(min_length=1)

    @field_validator("track", "seeds", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return _listed(value)


@dataclass(frozen=True)
class SweepEntry:
    """One training with its evaluation."""

    track: Track
    defense: Composition
    named: tuple[DefenseSpec, ...]  # as the file writes them
    seed: int
    backbone: BackboneSpec | None = None  # None: the track's
    data: Path | None = None
    init: Path | None = None
    public: Path | None = None

    @property
    def label(self) -> str:
        """The defence, and what else differs from the track."""
        norm = "" if self.backbone is None else f" [norm={self.backbone.kwargs.get('norm', 'batch')}]"
        start = "" if self.init is None else f" [init={self.init.name}]"
        return f"{' + '.join(spec.label for spec in self.named)}{norm}{start}"

    @property
    def digest(self) -> str:
        """Of everything that the entry's result depends on, but the contents of files."""
        return content_hash(
            self.track.digest,
            self.track.name,
            self.defense.key(),
            self.seed,
            self.backbone.model_dump(mode="json") if self.backbone else None,
            str(self.data) if self.data else None,
            str(self.init) if self.init else None,
            *([str(self.public)] if self.public else []),
            length=10,
        )

    @property
    def baseline(self) -> tuple[Any, ...]:
        """Entries that share it differ in their defence alone."""
        return (self.track.name, self.seed, str(self.backbone), self.data, self.init, self.public)


def shipped() -> dict[str, Path]:
    """The sweep files that come with the project, by name."""
    folder = Path(str(resources.files("benchmark"))) / "sweeps"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def open_sweep(path: Path) -> tuple[str, SweepFile]:
    """The sweep at a path, or the shipped one of that name; with its name.

    Raises:
        FaceVeilError: no such file, no YAML, or fields that are unknown or of the wrong kind.
    """
    if not path.is_file():
        if path.suffix or path.parent != Path("."):
            raise SweepFileError(f"sweep file {path} does not exist. Shipped: {', '.join(shipped())}.")
        if str(path) not in shipped():
            raise unknown("sweep", str(path), shipped())
        path = shipped()[str(path)]
    try:
        content = yaml.safe_load(path.read_bytes())  # bytes: editors save UTF-16, too
        return path.stem, SweepFile.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SweepFileError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        known = ", ".join(field.alias or name for name, field in Block.model_fields.items())
        raise SweepFileError(f"{path}: {reasons}. An entry may say {known}.") from None


def unroll(
    sweep: SweepFile, *, data: Path | None = None, init: Path | None = None, public: Path | None = None
) -> list[SweepEntry]:
    """Every entry of the grid once, in the file's order, seeds innermost.

    Args:
        data, init: used by entries that name none.
        public: faces of other people for defences that train on public ones, on tracks that read photos.

    Raises:
        FaceVeilError: a track, defence, setting or factor that does not exist.
    """
    found: dict[str, SweepEntry] = {}
    for block in sweep.entries:
        for entry in _of_block(sweep, block, data, init, public):
            found.setdefault(entry.digest, entry)
            if len(found) > MOST_ENTRIES:
                raise SweepFileError(f"the grid has more than {MOST_ENTRIES} entries: split the file.")
    return list(found.values())


def _of_block(
    sweep: SweepFile, block: Block, data: Path | None, init: Path | None, public: Path | None
) -> Iterator[SweepEntry]:
    axes = itertools.product(
        block.track or sweep.track,
        [name for text in block.defense for name in _matching(text)],
        *(_listed(values) for values in block.settings.values()),
    )
    for track_name, text, *values in axes:
        named_specs = parse_defenses(text, dict(zip(block.settings, values, strict=True)))
        defense = compose(named_specs)
        factors = itertools.product(block.head, block.photos, block.epochs, block.norm or (None,), block.data, block.init)
        for head, photos, epochs, norm, own_data, own_init in factors:
            changes = {"head": head, "photos": photos, "epochs": epochs, "shadows": sweep.shadows}
            track = variant(get_track(track_name), changes)
            for seed in block.seeds or sweep.seeds:
                faces = own_data or (data if track.source == "folder" else None)
                others = public if track.source == "folder" else None
                yield SweepEntry(track, defense, named_specs, seed, _backbone(track, norm), faces, own_init or init, others)


def _matching(text: str) -> list[str]:
    """The defences that a pattern such as ``bn_*`` matches, undefended first; a text without wildcards is left as it is."""
    if "*" not in text:
        return [text]
    names = sorted(fnmatch.filter(defenses(), text), key=lambda name: (name != "undefended", name))
    if not names:
        raise SweepFileError(f"defense {text!r}: no defence of this name. Known: {', '.join(defenses())}.")
    return names


def _backbone(track: Track, norm: str | None) -> BackboneSpec | None:
    if norm is None:
        return None
    if norm not in NORMS:
        raise SweepFileError(f"norm {norm!r}: one of {', '.join(NORMS)}.")
    spec = named(track.backbone, norm)
    return None if spec == track.backbone else spec
