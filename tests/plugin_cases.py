"""Every plug-in that the registry finds with its variants, as cases for tests."""

from __future__ import annotations

import ast
import inspect
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from benchmark.interfaces import AttackSpec, Plugin
from benchmark.protocol import registry
from benchmark.protocol.registry import build_attack

TESTS = Path(__file__).parent
PLANTED_AUC = 0.8  # of an attack on a planted leak, at least
COMPANIONS = {("norm", "public"): {"pretrain_epochs": 1}}  # what a choice makes no sense without


def choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a closed set: of a Literal, an enum or bool."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return tuple(annotation)
    return (False, True) if annotation is bool else ()


def variants(plugin: type[Plugin]) -> list[dict[str, Any]]:
    """The defaults, and every choice of every setting that has a closed set of them, one changed at a time."""
    found: list[dict[str, Any]] = [{}]
    for name, field in plugin.model_fields.items():
        others = [getattr(v, "value", v) for v in choices(field.annotation) if v != field.default]
        found += [{name: value, **COMPANIONS.get((name, value), {})} for value in others]
    return found


def test_file(plugin: type[Plugin]) -> Path:
    """Where the tests of a plug-in belong: beside its module, in the tree that mirrors the house."""
    folder = plugin.__module__.split(".")[:-1]
    return TESTS.joinpath(*folder, f"test_{plugin.name}.py")


test_file.__test__ = False  # type: ignore[attr-defined]


def planted_auc(spec: AttackSpec) -> float:
    """``PLANTED_AUC`` of the attack's own test file: one figure, or figures of variants by label."""
    for node in ast.parse(test_file(type(build_attack(spec))).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLANTED_AUC":
            stated = ast.literal_eval(node.value)
            return float(stated.get(spec.label, PLANTED_AUC) if isinstance(stated, dict) else stated)
    return PLANTED_AUC


ATTACKS = list(registry.membership_attacks().values())
ATTACK_SPECS = [AttackSpec(name=a.name, settings=s) for a in ATTACKS for s in variants(a)]
