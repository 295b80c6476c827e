"""Every column of the board: the page, the API, the downloads and the rows of ``faceveil rank`` are derived from :data:`TABLE`.

A new column is one entry here.  In files a measured column is three (the value, ``_low``, ``_high``) and a counted one five
(``_n`` and ``_unit`` too).
"""

from __future__ import annotations

from benchmark.records.controls import Gain
from benchmark.records.ranking import Axis
from benchmark.records.results import Metric
from benchmark.records.runs import FAMILIES
from leaderboard.board.column import Column, Shown, Sorting
from leaderboard.board.facts import NOTHING, Ends, Facts, mean


def _counted(axis: Axis) -> tuple[float | None, float | None, float | None, int, str]:
    return axis.value, axis.low, axis.high, axis.n, axis.unit


def _ends(metric: Gain | Metric | None) -> Ends:
    return NOTHING if metric is None else (metric.value, metric.low, metric.high)


def _epsilon_of(facts: Facts) -> str:
    claim = facts.first.claim
    return f"delta={claim.delta:.2g}, {claim.scope}" if claim else ""


def _inversion_n(facts: Facts) -> int | None:
    found = [run.inversion.n for run in facts.runs if run.inversion is not None]
    return min(found) if facts.inversion[0] is not None else None


_PEOPLE = " (people and backbones resampled)"
_SEEDS = "; of several seeds the lowest and the highest of theirs"

# fmt: off
TABLE: tuple[Column, ...] = (
    Column("key", "Stable name of the entry, used in links.", lambda f: f.entry.key,
           shown=(Shown("Link name", width=100, hidden=True),)),
    Column("rank", "Layer of entries that no other significantly dominates. Entries of one layer are tied.",
           lambda f: f.entry.rank,
           shown=(Shown("Rank", "place", "place", 48, fixed=True, pinned=True),)),
    Column("tied", "True where other entries share the rank.", lambda f: f.entry.tied),
    Column("title", "The defences by the names that people use, with their settings.", lambda f: f.first.title, searched=True,
           sorting=Sorting("Name", "name"),
           shown=(Shown("Defence", "link", width=170, fixed=True, pinned=True),)),
    Column("reasons", "Why the entry is not ranked. Empty: it is.", lambda f: "; ".join(f.entry.reasons),
           shown=(Shown("Why it is not ranked", width="large", fixed=True),)),
    Column("control", "True for the controls: undefended, and trained on public faces only.", lambda f: f.entry.control),
    Column("utility", "TAR@FAR=1e-3 on verification people, mean over the entry's backbones. Higher is better.",
           lambda f: _counted(f.entry.utility), counted=True, over=_PEOPLE,
           sorting=Sorting("Utility", "utility, the highest first", ascending=False),
           shown=(Shown("Utility ↑", "number", width=76, lead=True),
                  Shown("Utility: 95 % interval, n", "interval", "utility_interval", 190))),
    Column("gain", "Utility over that of training on public faces alone (public_only). "
           "Not above 0: private photos bought nothing.",
           lambda f: _ends(f.entry.gain), measured=True, over=" (paired)",
           sorting=Sorting("Gain", "gain over public faces alone, the highest first", ascending=False),
           shown=(Shown("Gain over public faces only ↑", "change", "gain_text", 190, may_be_empty=True),)),
    Column("bought_nothing", "True where utility is significantly below that of public_only.",
           lambda f: f.entry.bought_nothing),
    Column("utility_change", "Utility less that of the undefended control, paired.",
           lambda f: _ends(f.entry.utility_change), measured=True,
           shown=(Shown("Utility against undefended", "change", "utility_change_text", 190, may_be_empty=True),)),
    Column("leakage_change", "Leakage less that of the undefended control, paired.",
           lambda f: _ends(f.entry.leakage_change), measured=True,
           shown=(Shown("Leakage against undefended", "change", "leakage_change_text", 190, may_be_empty=True),)),
    Column("leakage", "Membership advantage (TPR - FPR) of the strongest attack: 0 = nothing leaks, 1 = everything. "
           "Lower is better.",
           lambda f: _counted(f.entry.leakage), counted=True, over=_PEOPLE,
           sorting=Sorting("Leakage", "leakage, the lowest first"),
           shown=(Shown("Leakage ↓", "number", width=80, lead=True),
                  Shown("Leakage: 95 % interval, n", "interval", "leakage_interval", 190))),
    Column("nothing_found", "True where leakage is not significantly above 0: it counts as 0; leakage_high is not ruled out.",
           lambda f: f.entry.nothing_found, shown=(Shown("Found", "mark", "found", 60, format="n.f.", lead=True),)),
    Column("leakage_attack", "The attack that gave the leakage. Chosen on one half of the people, reported on the other.",
           lambda f: f.headline.leakage_attack if f.headline else "", searched=True,
           shown=(Shown("by attack", width=150),)),
    Column("leakage_contrast", "What it told apart. sample: trained photos from other photos of the same people. "
           "identity: people trained on from others.",
           lambda f: str(f.headline.leakage_contrast) if f.headline else "",
           shown=(Shown("on contrast", width=90),)),
    Column("family", "What kind of defence it is.", lambda f: FAMILIES[f.first.family], searched=True,
           shown=(Shown("Family", width=120),)),
    Column("flags", "What to know before trusting the entry.", lambda f: "; ".join(f.flags), searched=True,
           shown=(Shown("Red flags", "flags", width="medium"),)),
    Column("sample_auc", "AUC of the strongest headless attack, trained photos against other photos of the same people. "
           "0.5 = chance.", lambda f: f.sample[1:], measured=True, over=_SEEDS,
           sorting=Sorting("Sample AUC", "AUC of the strongest attack on seen against unseen photos, the lowest first"),
           shown=(Shown("Sample AUC ↓", "number"),)),
    Column("sample_attack", "The attack that reached sample_auc.", lambda f: f.sample[0]),
    Column("identity_auc", "AUC of the strongest headless attack, other photos of people trained on against people never "
           "trained on.", lambda f: f.identity[1:], measured=True, over=_SEEDS,
           sorting=Sorting("Identity AUC", "AUC of the strongest attack on members against others, the lowest first"),
           shown=(Shown("Identity AUC ↓", "number"),)),
    Column("identity_attack", "The attack that reached identity_auc.", lambda f: f.identity[0]),
    Column("tpr_at_01", "TPR@FPR=0.1 % of the attack that gave the leakage. Empty: too few photos to measure it.",
           lambda f: _ends(f.headline.low_fpr if f.headline else None), measured=True,
           shown=(Shown("TPR@0.1 % ↓", "number", may_be_empty=True),)),
    Column("exposed", "The same advantage among the 1 % of photos that the entry's other backbones show to be most exposed.",
           lambda f: _ends(f.headline.exposed if f.headline else None), measured=True,
           shown=(Shown("Most exposed 1 % ↓", "number", may_be_empty=True),)),
    Column("tpr_at_1", "TPR@FPR=1 % of the attack that gave the leakage. Empty: too few photos to measure it.",
           lambda f: f.tpr_at_1, measured=True, over=_SEEDS, shown=(Shown("TPR@1 % ↓", "number", hidden=True),)),
    Column("inversion", "Inversion leakage: share of members whose faces could be rebuilt from the backbone alone, less that "
           "of people never trained on, for the best inversion attack; mean over seeds. 0 = none. Lower is better. "
           "inversion_unranked says why a value is shown and not ranked.",
           lambda f: f.inversion, measured=True, over=_SEEDS, sorting=Sorting("Inversion", "inversion, the lowest first"),
           shown=(Shown("Inversion ↓", "change", "inversion_text", 170, may_be_empty=True),)),
    Column("inversion_unranked", "Why the inversion leakage is shown and not ranked. Empty: it is ranked, or was not measured.",
           lambda f: "; ".join(f.inversion_unranked) or None,
           shown=(Shown("Inversion: why unranked", width="medium", may_be_empty=True),)),
    Column("inversion_n", "How many people were counted for inversion.", _inversion_n),
    Column("inversion_attack", "The attack that gave the inversion leakage.",
           lambda f: f.first.inversion_attack if f.inversion[0] is not None else ""),
    Column("epsilon", "Claimed epsilon of differential privacy, as the submitter states it. Lower is stronger.",
           lambda f: f.first.claim.epsilon if f.first.claim else None,
           sorting=Sorting("Claimed ε", "claimed ε, the lowest first"),
           shown=(Shown("Claimed ε ↓", "number", format="%.3g", may_be_empty=True),)),
    Column("epsilon_of", "What the claim covers: delta, protected unit, the model or its BN statistics alone, and whether "
           "the trainings that chose the settings are in it.", _epsilon_of),
    Column("entry", "Name that the submitter gave; one row is one configuration.", lambda f: f.entry.label, searched=True,
           shown=(Shown("Entry", width=190),)),
    Column("defense", "Defences with their settings, in the order in which they were composed.", lambda f: f.first.defense,
           searched=True, shown=(Shown("Settings", width="medium"),)),
    Column("defense_name", "Defences without their settings.", lambda f: " + ".join(f.first.defense_names), searched=True),
    Column("team", "Who submitted it.", lambda f: f.first.team, searched=True, shown=(Shown("Team", width=110),)),
    Column("board", "verified: re-trained by the evaluator. weights: trained elsewhere, nobody can prove on what. "
           "local: run here.",
           lambda f: f.scope.board, shown=(Shown("Board", width=80, hidden=True),)),
    Column("targets", "Backbones of the entry's population, each a target in its turn.",
           lambda f: f.headline.targets if f.headline else None,
           shown=(Shown("Backbones", "number", format="%d", may_be_empty=True),)),
    Column("seeds", "Training seeds that the entry is a mean over.", lambda f: len({run.seed for run in f.runs}),
           shown=(Shown("Seeds", "number", format="%d", hidden=True),)),
    Column("training_seconds", "Seconds of training one backbone, mean over seeds, as the trainer wrote them in the card.",
           lambda f: mean([run.training_seconds for run in f.runs]), shown=(Shown("Training, s", "number", format="%.0f"),)),
    Column("backbone", "Architecture, a timm model name.", lambda f: f.first.backbone, searched=True,
           shown=(Shown("Backbone", width=120, hidden=True),)),
    Column("complete", "Every attack of the track and of the defence was run.", lambda f: all(run.complete for run in f.runs)),
    Column("smoke", "From a smoke run, too small to conclude from.", lambda f: f.smoke),
    Column("dominated_by", "Entries that significantly dominate this one, at most twenty, the best first.",
           lambda f: ", ".join(f.entry.dominated_by)),
    Column("dominators", "How many entries significantly dominate this one.", lambda f: f.entry.dominators),
    Column("created", "When the newest of its records was made, UTC.", lambda f: max(run.created for run in f.runs),
           sorting=Sorting("Newest", "date, the newest first", ascending=False),
           shown=(Shown("Evaluated", "date", width=100, hidden=True),)),
    Column("track", "Track: data, split, backbone and budget, frozen.", lambda f: f.scope.track),
    Column("protocol_version", "Entries of different protocol versions never share a ranking.",
           lambda f: f.scope.protocol_version),
    Column("data_digest", "Hash of the data.", lambda f: f.scope.data_digest),
    Column("split_digest", "Hash of who plays which role.", lambda f: f.scope.split_digest),
    Column("configuration", "Hash of what was trained, without its seed.", lambda f: f.entry.configuration),
)
# fmt: on
COLUMNS: dict[str, str] = {name: text for column in TABLE for name, text in column.parts.items()}
SORTS: dict[str, tuple[str, Sorting]] = {c.sorting.name: (c.name, c.sorting) for c in TABLE if c.sorting}
