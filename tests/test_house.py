"""The house: every module is tested by its name or by a test that imports it; one version; packages say what they are."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "attacks", "defenses", "leaderboard")
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix(): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in path.parts
}
# modules, or whole packages, that no test imports by name, and the test that exercises them
THROUGH = {
    "benchmark/training/synchronised": "tests/benchmark/training/test_scale.py",
    "benchmark/data/readers/without": "tests/benchmark/data/test_duplicates.py",
    "benchmark/evaluation/deduplication": "tests/benchmark/data/test_duplicates.py",
    "benchmark/evaluation/input_check": "tests/benchmark/models/test_onnx_network.py",
    "benchmark/evaluation/paper": "tests/benchmark/cli/test_paper.py",
    "benchmark/models": "tests/benchmark/models/test_checkpoints.py",
    "benchmark/training/middle": "tests/benchmark/training/test_scale.py",
    "leaderboard/charts/palette": "tests/leaderboard/charts/test_pareto.py",
    "benchmark/cli/bench": "tests/benchmark/cli/test_cli.py",
    "benchmark/data/procedural": "tests/benchmark/data/procedural/test_faces.py",
    "benchmark/data/readers/containers": "tests/benchmark/data/readers/test_folder.py",
    "benchmark/data/readers/file_ranges": "tests/benchmark/data/readers/test_recordio.py",
    "benchmark/evaluation/audit/attempts": "tests/benchmark/evaluation/audit/test_model_audit.py",
    "benchmark/evaluation/audit/blind_probes": "tests/benchmark/evaluation/audit/test_model_audit.py",
    "benchmark/evaluation/audit/observations": "tests/benchmark/evaluation/audit/test_model_audit.py",
    "benchmark/evaluation/audit/report": "tests/benchmark/evaluation/audit/test_model_audit.py",
    "benchmark/evaluation/audit/verdicts": "tests/benchmark/evaluation/audit/test_model_audit.py",
    "benchmark/evaluation/audit/model_files": "tests/benchmark/cli/test_audit_model.py",
    "benchmark/evaluation/audit/page_style": "tests/benchmark/evaluation/audit/test_page.py",
    "benchmark/interfaces": "tests/test_contracts.py",
    "benchmark/models/checkpoint_layouts": "tests/benchmark/models/test_checkpoints.py",
    "benchmark/models/ir_se": "tests/benchmark/models/test_backbones.py",
    "benchmark/models/iresnet": "tests/benchmark/models/test_backbones.py",
    "benchmark/models/mobilefacenet": "tests/benchmark/models/test_backbones.py",
    "benchmark/models/layer_gradients": "tests/defenses/private/test_ghost_clipping.py",
    "benchmark/records/controls": "tests/benchmark/records/test_ranking.py",
    "benchmark/records/listing": "tests/benchmark/service/test_store.py",
    "benchmark/runtime/pools": "tests/benchmark/runtime/test_executor.py",
    "benchmark/runtime/ray_cluster": "tests/benchmark/runtime/test_executor.py",
    "benchmark/service/admission": "tests/benchmark/service/test_intake.py",
    "benchmark/service/heartbeat": "tests/benchmark/service/test_queue.py",
    "benchmark/service/job_rows": "tests/benchmark/service/test_queue.py",
    "benchmark/service/leases": "tests/benchmark/service/test_queue.py",
    "benchmark/service/notebook": "tests/test_faceveil.py",
    "benchmark/signals/answers": "tests/benchmark/signals/test_kinds.py",
    "benchmark/signals/layers": "tests/benchmark/signals/test_extraction.py",
    "benchmark/training/recipes": "tests/benchmark/training/test_population.py",
    "benchmark/signals/channel_moments": "tests/benchmark/signals/test_extraction.py",
    "benchmark/training/compatibility": "tests/benchmark/training/test_composition.py",
    "attacks/generators/linear": "tests/attacks/generators/test_stylegan2.py",
    "attacks/generators/mapping": "tests/attacks/generators/test_stylegan2.py",
    "attacks/generators/modulated": "tests/attacks/generators/test_stylegan2.py",
    "attacks/generators/synthesis": "tests/attacks/generators/test_stylegan2.py",
    "attacks/generators/nvlabs": "tests/attacks/generators/test_files.py",
    "attacks/generators/rosinality": "tests/attacks/generators/test_files.py",
    "attacks/generators/tensors": "tests/attacks/generators/test_files.py",
    "attacks/generators/opening": "tests/attacks/generators/test_commands.py",
    "attacks/shared/nearest": "tests/attacks/inversion/test_nearest_public.py",
    "attacks/shared/objectives": "tests/attacks/inversion/test_template.py",
    "defenses/private": "tests/defenses/test_dp_sgd.py",
    "defenses/shared/adaptive": "tests/test_contracts.py",
    "defenses/shared/public_photos": "tests/defenses/test_distillation.py",
    "defenses/shared/pretraining": "tests/defenses/test_transfer_freeze.py",
    "leaderboard/api": "tests/leaderboard/api/test_routes.py",
    "leaderboard/app": "tests/leaderboard/test_board.py",
    "leaderboard/bench": "tests/leaderboard/bench/test_records.py",
    "leaderboard/plain": "tests/leaderboard/plain/test_site.py",
    "leaderboard/widgets": "tests/leaderboard/test_board.py",
}


def _imported(path: Path) -> set[str]:
    """Modules that a file imports, by path."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name.replace(".", "/") for name in found}


def test_every_module_has_a_test():
    tests = sorted((ROOT / "tests").rglob("*.py"))
    own = {path.relative_to(ROOT / "tests").as_posix() for path in tests}
    imported = set().union(*map(_imported, tests))
    untested = []
    for name, path in MODULES.items():
        folder, _, stem = name.rpartition("/")
        if path.name == "__init__.py" or f"{folder}/test_{stem}.py" in own or name in imported or _by_contracts(name):
            continue
        through = THROUGH.get(name) or THROUGH.get(folder)
        if through is None or not (ROOT / through).exists():
            untested.append(name)
    assert not untested, f"{untested}: write tests/PACKAGE/test_MODULE.py, or name in THROUGH the test that covers them"


def _by_contracts(name: str) -> bool:
    """Plug-ins are driven by the table of the contracts, commands by the root of the command line."""
    return bool(re.fullmatch(r"attacks/(membership|inversion)/\w+|defenses/\w+|benchmark/cli/\w+|leaderboard/views/\w+", name))


def test_every_package_says_what_lives_in_it():
    for name, path in MODULES.items():
        if path.name == "__init__.py" and not (doc := ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))):
            pytest.fail(f"{name} has no docstring: {doc}")


def test_a_file_does_not_repeat_the_name_of_its_package():
    for name in MODULES:
        folder, _, stem = name.rpartition("/")
        package = folder.rpartition("/")[2]
        assert not stem.startswith(f"{package}_"), f"{name}: drop {package!r} from the file's name"


def test_there_is_one_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    citation = re.search(r"^version: \"?([^\"\n]+)", (ROOT / "CITATION.cff").read_text(), re.M)
    released = re.findall(r"^## (\d[^ \n]*)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert citation is not None
    assert {citation.group(1), released[0]} == {version}
