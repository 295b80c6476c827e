"""Everything random, in the code and in its tests, follows from a seed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmark", "attacks", "defenses", "leaderboard", "tests")
TORCH_DRAWS = {f"torch.{name}" for name in ("rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial")}
SEEDED_BY_ARGUMENT = ("default_rng", "RandomState", "Random", "SeedSequence", "PCG64", "Philox")
OF_THE_SYSTEM = ("random.SystemRandom", "torch.seed", "torch.random.seed", "uuid.uuid4", "os.urandom")
IDENTIFIERS = {"benchmark/service"}  # where names must differ between runs


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a chain of attributes, "" of anything else."""
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unseeded(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every call in a file that draws from a generator nobody seeded."""
    arguments = {argument.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for argument in node.args.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func).partition(".")[0] in arguments:
            continue  # a generator submitted, such as that of hypothesis, which it calls random
        if isinstance(node, ast.Call) and _draws_unseeded(node, dotted(node.func)):
            yield node.lineno, dotted(node.func)


def _draws_unseeded(call: ast.Call, name: str) -> bool:
    module, _, function = name.rpartition(".")
    if function in SEEDED_BY_ARGUMENT:
        return not call.keywords and (not call.args or _is_none(call.args[0]))
    legacy = module in ("np.random", "numpy.random") and function.islower() and function != "seed"
    return name in OF_THE_SYSTEM or legacy or (module == "random" and function != "seed")


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def before_any_seed(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Draws from torch's global generator in a test file that no test seeds: at import, and in fixtures of longer life."""
    for node in tree.body:
        if (isinstance(node, ast.FunctionDef) and _lives_long(node)) or not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _global_draws(node)


def _lives_long(function: ast.FunctionDef) -> bool:
    fixtures = [d for d in function.decorator_list if isinstance(d, ast.Call) and dotted(d.func) == "pytest.fixture"]
    return any(keyword.arg == "scope" for fixture in fixtures for keyword in fixture.keywords)


def _global_draws(node: ast.AST) -> list[tuple[int, str]]:
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    if any(dotted(call.func).rpartition(".")[2] in ("manual_seed", "seeded") for call in calls):
        return []
    drawn = [call for call in calls if dotted(call.func) in TORCH_DRAWS]
    return [(c.lineno, dotted(c.func)) for c in drawn if not any(k.arg == "generator" for k in c.keywords)]


def files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def test_no_generator_is_left_unseeded() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line} {name}"
        for file in files(*FOLDERS)
        if not any(part in file.as_posix() for part in IDENTIFIERS) and file != Path(__file__)
        for line, name in unseeded(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_nothing_is_drawn_before_a_test_is_seeded() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line} {name}"
        for file in files("tests")
        for line, name in before_any_seed(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "np.random.default_rng()",
        "default_rng(None)",
        "np.random.rand(3)",
        "numpy.random.shuffle(x)",
        "random.random()",
        "random.Random()",
        "np.random.RandomState()",
        "torch.seed()",
        "os.urandom(4)",
    ],
)
def test_the_check_sees_what_is_unseeded(code: str) -> None:
    assert len(list(unseeded(ast.parse(code)))) == 1


@pytest.mark.parametrize("code", ["np.random.default_rng(0)", "np.random.default_rng(seed=1)", "random.Random(3).random()"])
def test_the_check_leaves_seeded_generators_alone(code: str) -> None:
    assert list(unseeded(ast.parse(code))) == []


def test_the_check_sees_draws_at_import_and_in_long_lived_fixtures() -> None:
    text = (
        "X = torch.rand(3)\nY = torch.rand(3, generator=g)\n"
        "@pytest.fixture(scope='module')\ndef a():\n    return torch.randn(2)\n"
        "@pytest.fixture(scope='module')\ndef b():\n    torch.manual_seed(0)\n    return torch.randn(2)\n"
        "def test():\n    torch.randn(2)\n"
    )
    assert list(before_any_seed(ast.parse(text))) == [(1, "torch.rand"), (5, "torch.randn")]


def test_global_draws_repeat_for_each_test(request: pytest.FixtureRequest) -> None:
    import random
    import zlib

    import numpy as np
    import torch

    drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002 - what this is about
    seed = zlib.crc32(request.node.nodeid.encode())
    expected = (
        random.Random(seed).random(),
        float(np.random.RandomState(seed).rand()),
        float(torch.rand((), generator=torch.Generator().manual_seed(seed))),
    )
    assert drawn == expected
