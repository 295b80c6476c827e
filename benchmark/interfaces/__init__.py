"""The contracts between the parts of FaceVeil: everything that the author of a plug-in needs.

A leaf: it imports nothing else of FaceVeil, and torch only for type checkers, so that every part (and every plug-in outside
the project) can depend on it cheaply.
"""

from benchmark.interfaces.defense import TRAINING_STAGES, Defense, ReleaseContext, TrainerProtocol
from benchmark.interfaces.errors import (
    AccessError,
    FaceVeilError,
    NotApplicableError,
    SettingsError,
    UnknownPluginError,
    unknown,
)
from benchmark.interfaces.inversion import (
    FaceGenerator,
    ImageFunction,
    InversionAttack,
    InversionContext,
    InversionOutput,
    SimilarityScores,
)
from benchmark.interfaces.membership import MembershipAttack
from benchmark.interfaces.photos import Batch, ForwardPass, Photos
from benchmark.interfaces.plugins import (
    AttackSpec,
    BackboneSpec,
    DefenseSpec,
    Plugin,
    PluginInfo,
    PluginSpec,
    Reference,
    Result,
    canonical_json,
    content_hash,
)
from benchmark.interfaces.signals import QueryShadow, SignalRequest, Signals, Statistics
from benchmark.interfaces.threat import Access, Contrast, Goal, Knowledge

__all__ = [
    "TRAINING_STAGES",
    "Access",
    "AccessError",
    "AttackSpec",
    "BackboneSpec",
    "Batch",
    "Contrast",
    "Defense",
    "DefenseSpec",
    "FaceGenerator",
    "FaceVeilError",
    "ForwardPass",
    "Goal",
    "ImageFunction",
    "InversionAttack",
    "InversionContext",
    "InversionOutput",
    "Knowledge",
    "MembershipAttack",
    "NotApplicableError",
    "Photos",
    "Plugin",
    "PluginInfo",
    "PluginSpec",
    "QueryShadow",
    "Reference",
    "ReleaseContext",
    "Result",
    "SettingsError",
    "SignalRequest",
    "Signals",
    "SimilarityScores",
    "Statistics",
    "TrainerProtocol",
    "UnknownPluginError",
    "canonical_json",
    "content_hash",
    "unknown",
]
