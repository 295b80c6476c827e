"""No defence: the reference that every other entry is compared with."""

from __future__ import annotations

from typing import ClassVar

from benchmark.interfaces import AttackSpec, Defense, Reference


class Undefended(Defense):
    """The track's plain training."""

    name: ClassVar[str] = "undefended"
    title: ClassVar[str] = "undefended"
    summary: ClassVar[str] = "The track's plain training, nothing changed."
    reference: ClassVar[Reference] = Reference(title="FaceVeil", where="this project")
    family: ClassVar[str] = "none"
    post_hoc: ClassVar[bool] = True

    def adaptive_attacks(self) -> tuple[AttackSpec, ...]:
        """Nothing to adapt to but the stored statistics: the attack that ignores them keeps entries comparable."""
        return (AttackSpec(name="bn_distance", settings={"statistics": "auxiliary"}),)
