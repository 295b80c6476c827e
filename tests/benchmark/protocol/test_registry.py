from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from importlib import metadata
from typing import ClassVar

import pytest
import torch

from benchmark.interfaces import (
    AttackSpec,
    Defense,
    DefenseSpec,
    FaceVeilError,
    MembershipAttack,
    Reference,
    SettingsError,
    UnknownPluginError,
)
from benchmark.models import backbones
from benchmark.protocol import registry
from benchmark.protocol.registry import build_attack, build_defense, canonical, load_plugin_file, plugin_file_digest
from benchmark.protocol.tracks import get_track

PLUGIN = """
    from typing import ClassVar
    from benchmark.interfaces import *

    class Coin(MembershipAttack):
        '''A coin.'''
        name: ClassVar[str] = "coin"
        summary: ClassVar[str] = "Throws a coin."
        reference: ClassVar[Reference] = Reference(title="none")
        access: ClassVar[Access] = Access.EMBEDDING
        contrasts: ClassVar[tuple[Contrast, ...]] = (Contrast.SAMPLE,)
        sides: int = 2

    class Shield(Defense):
        '''A shield.'''
        name: ClassVar[str] = "shield"
        summary: ClassVar[str] = "Shields."
        reference: ClassVar[Reference] = Reference(title="none")
        family: ClassVar[str] = "training"
"""


@pytest.fixture
def plugin_file(tmp_path, plugin_table):
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(PLUGIN))
    return path


# What is found


def test_every_module_of_the_entry_points_is_searched():
    assert set(registry.membership_attacks()) >= {"bn_distance", "embedding_norm", "encoder_mi", "regrown_head"}
    assert set(registry.defenses()) >= {"undefended", "bn_perturbation", "early_stopping", "dp_sgd"}
    assert list(registry.defenses()) == sorted(registry.defenses())


def test_the_benchmark_alone_imports_no_plugin():
    """The ground floor knows plug-ins by name only: they are imported when they are first asked for."""
    code = (
        "import sys, benchmark.protocol.registry, benchmark.cli\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('attacks', 'defenses', 'leaderboard')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_abstract_classes_and_imported_names_are_no_plugins():
    module = sys.modules["attacks.membership.bn_distance"]
    assert [p.name for p in registry._plugins_in(module, (MembershipAttack,))] == ["bn_distance"]


def test_two_plugins_of_one_name_are_refused(plugin_table):
    class Twin(Defense):
        name: ClassVar[str] = "undefended"

    registry.defenses()
    with pytest.raises(FaceVeilError, match=r"two plug-ins are called 'undefended': defenses\.undefended and .*Rename"):
        plugin_table(Twin)


# Building


def test_a_typo_gets_the_nearest_name():
    with pytest.raises(UnknownPluginError, match=r"unknown attack 'bn_distanc'\. Did you mean 'bn_distance'\?.*Known: "):
        build_attack(AttackSpec(name="bn_distanc"))
    with pytest.raises(UnknownPluginError, match=r"unknown defence 'dpsgd'\. Did you mean 'dp_sgd'\?"):
        build_defense(DefenseSpec(name="dpsgd"))
    with pytest.raises(UnknownPluginError) as far:
        build_attack(AttackSpec(name="zzzzzz"))
    assert "Did you mean" not in str(far.value)


def test_an_attack_is_no_defence():
    with pytest.raises(UnknownPluginError, match="unknown defence 'bn_distance'"):
        build_defense(DefenseSpec(name="bn_distance"))


def test_values_out_of_range_are_named_with_what_was_given():
    with pytest.raises(SettingsError) as refusal:
        build_defense(DefenseSpec(name="bn_perturbation", settings={"rho": -1}))
    text = str(refusal.value)
    assert "defence 'bn_perturbation': rho: " in text
    assert "(given -1)" in text
    assert "rho (default 0.1)" in text
    with pytest.raises(SettingsError, match=r"statistic: .*'mean' or 'mean_var'.*given 'median'"):
        build_attack(AttackSpec(name="bn_distance", settings={"statistic": "median"}))


def test_values_from_a_list_are_named_as_a_user_types_them():
    with pytest.raises(SettingsError) as refusal:
        build_attack(AttackSpec(name="pair_stack", settings={"knowledge": "none"}))
    text = str(refusal.value)
    assert "knowledge: Input should be 'query_pool' (given 'none')" in text
    assert "knowledge (default 'query_pool')" in text


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(SettingsError) as refusal:
        build_attack(AttackSpec(name="bn_distance", settings={"statistc": "mean", "statistics": "none"}))
    assert "no setting 'statistc' (did you mean 'statistic'?)" in str(refusal.value)
    assert "statistics: " in str(refusal.value)


def test_canonical_settings_are_those_that_differ_from_the_defaults():
    spelled = AttackSpec(name="bn_distance", settings={"statistic": "mean", "knowledge": "auxiliary"})
    named = canonical(spelled, build_attack(spelled))
    assert named == AttackSpec(name="bn_distance", settings={"knowledge": "auxiliary"})
    assert named.label == "bn_distance(knowledge=auxiliary)"
    full = DefenseSpec(name="bn_perturbation", settings=build_defense(DefenseSpec(name="bn_perturbation")).settings())
    assert canonical(full, build_defense(full)) == DefenseSpec(name="bn_perturbation")


def test_info_is_what_the_class_says():
    info = registry.info(registry.membership_attacks()["bn_distance"])
    assert (info.name, info.access) == ("bn_distance", "weights")
    assert "arXiv 2401.13719" in info.reference
    assert info.contrasts == ("sample", "identity", "seen_vs_held_out")
    assert registry.info(registry.defenses()["bn_perturbation"]).family == "bn_statistics"


def test_services_are_found_by_name():
    assert callable(registry.service("generator"))
    with pytest.raises(UnknownPluginError, match="Did you mean 'generator'"):
        registry.service("generatr")


# Plug-in files


def test_a_file_adds_its_plugins_and_says_whence(plugin_file):
    assert set(load_plugin_file(plugin_file)) == {"coin", "shield"}
    assert build_attack(AttackSpec(name="coin", settings={"sides": 6})).settings() == {"knowledge": "none", "sides": 6}
    assert build_defense(DefenseSpec(name="shield")).name == "shield"
    assert plugin_file_digest("coin") == hashlib.sha256(plugin_file.read_bytes()).hexdigest()
    assert plugin_file_digest("bn_distance") is None


def test_the_same_file_twice_is_no_clash(plugin_file):
    first = load_plugin_file(plugin_file)
    assert load_plugin_file(plugin_file) == first
    copy = plugin_file.with_name("copy.py")
    copy.write_bytes(plugin_file.read_bytes())
    assert load_plugin_file(copy) == first


def test_another_file_may_not_take_a_name(plugin_file):
    load_plugin_file(plugin_file)
    plugin_file.write_text(plugin_file.read_text() + "\n# changed\n")
    with pytest.raises(FaceVeilError, match="two plug-ins are called 'coin'"):
        load_plugin_file(plugin_file)


def test_files_that_are_none(tmp_path, plugin_table):
    with pytest.raises(FaceVeilError, match="does not exist"):
        load_plugin_file(tmp_path / "missing.py")
    text = tmp_path / "notes.txt"
    text.write_text("x = 1")
    with pytest.raises(FaceVeilError, match=r"not a Python file \(expected a name ending in \.py\)"):
        load_plugin_file(text)
    empty = tmp_path / "empty.py"
    empty.write_text("from benchmark.interfaces import MembershipAttack, Defense\n")
    with pytest.raises(FaceVeilError, match="defines no attack, defence, track or backbone"):
        load_plugin_file(empty)


def test_a_reference_needs_only_a_title():
    class Bare(Defense):
        """Bare."""

        name: ClassVar[str] = "bare"
        summary: ClassVar[str] = "Nothing."
        reference: ClassVar[Reference] = Reference(title="A title")
        family: ClassVar[str] = "none"

    assert registry.info(Bare()).reference == "A title"


# Packages of others

NOISE = """
from typing import ClassVar
from benchmark.interfaces import Defense, Reference

class TheirNoise(Defense):
    name: ClassVar[str] = "their_noise"
    summary: ClassVar[str] = "Noise."
    reference: ClassVar[Reference] = Reference(title="theirs")
    family: ClassVar[str] = "training"
"""


class Others:
    """The entry points of a package that is not ours."""

    def __init__(self, monkeypatch, tmp_path, group, **modules):
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "__init__.py").touch()
        for name, text in modules.items():
            (tmp_path / "theirs" / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        dist = type("Dist", (), {"name": "their-package"})
        entry = metadata.EntryPoint("theirs", "theirs", group)
        vars(entry).update(dist=dist)
        found = registry.entry_points
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [*found(group=group), *([entry] if group == entry.group else [])]
        )
        for cached in (registry._table, registry.tracks, registry.backbones):
            cached.cache_clear()


@pytest.fixture
def others(monkeypatch, tmp_path, plugin_table):
    yield lambda group, **modules: Others(monkeypatch, tmp_path, group, **modules)
    registry.backbones.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] == "theirs"]:
        del sys.modules[name]


def test_a_broken_package_is_a_warning_that_names_it(others):
    others("faceveil.defenses", broken="import nothing_of_this_name", good=NOISE)
    with pytest.warns(UserWarning, match=r"their-package.*theirs.broken cannot be imported \(ModuleNotFoundError"):
        names = registry.defenses()
    assert "undefended" in names
    assert "their_noise" in names, "what works in the same package is there"


def test_a_track_of_a_package(others):
    others(
        "faceveil.tracks",
        more="""
from benchmark.protocol.tracks import TRACKS
mine = TRACKS["synthetic-quick"].model_copy(update={"name": "theirs-quick"})
""",
    )
    assert get_track("theirs-quick").name == "theirs-quick"


def test_a_track_cannot_take_the_name_of_one_that_ships(others):
    others("faceveil.tracks", more="from benchmark.protocol.tracks import TRACKS\nmine = TRACKS['synthetic-quick']")
    with pytest.raises(FaceVeilError, match="'synthetic-quick', which is the name of a track of FaceVeil"):
        get_track("synthetic-quick")


def test_a_backbone_of_a_package(others):
    others(
        "faceveil.backbones",
        net="""
import torch
from timm.models import register_model

@register_model
def their_net(pretrained=False, **kwargs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
""",
    )
    assert "their_net" in backbones.names()
    assert backbones.create("their_net")(torch.zeros(1, 3, 2, 2)).shape == (1, 5)
