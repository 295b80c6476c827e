"""What the board is: protocol and its history, definitions, threat model, citing, responsible use."""

from __future__ import annotations

import contextlib

import pandas as pd
import streamlit as st

from benchmark.protocol.changes import CHANGES
from benchmark.protocol.track import PROTOCOL_VERSION, Track
from benchmark.protocol.tracks import TRACKS
from benchmark.service.database import StoreError
from leaderboard.board import galleries
from leaderboard.charts.drawings import roles, stages
from leaderboard.widgets.jobs import store

BIBTEX = """@software{faceveil,
  title  = {FaceVeil: a benchmark of defences for headless face-recognition backbones},
  author = {{The FaceVeil authors}},
  year   = {2026}
}
@article{huang2024inference,
  title   = {Inference Attacks Against Face Recognition Model without Classification Layers},
  author  = {Huang, Yuanqing and Chen, Huilong and Wang, Yinggui and Wang, Lei},
  journal = {arXiv:2401.13719},
  year    = {2024}
}"""

PURPOSE = """
Face-recognition systems drop their classification layer after training and ship the backbone alone: image in, embedding out.
FaceVeil measures how much such a backbone gives away about the faces that it was trained on, and what a defence costs
in recognition.
"""

MEASURES = """
**Roles.** Five disjoint sets of people: *members* (photos that are trained on, and other photos that are not), *held-out*
people of the same distribution, *verification* people for utility, *auxiliary* people whom the attacker holds, *judges*.

**Contrasts.** *Sample*: seen photos against unseen photos of the same people. *Identity*: unseen photos of members against
photos of people never trained on. Seen against held-out, the founding paper's own contrast, mixes the two; it is shown and
never makes the headline.

**Blind gate.** Classifiers that never saw the model try each contrast. Where they succeed, the data gives membership away:
shown, and not ranked.
"""

NUMBERS = {
    "Utility": "TAR@FAR=1e-3: the largest share of same-person pairs accepted at a threshold at which at most one pair of two "
    "people in a thousand is. People never trained on.",
    "Leakage": "Membership advantage, TPR − FPR, of the strongest attack on the stronger contrast. Attack and threshold are "
    "chosen on one half of the people and reported on the other.",
    "AUC": "Mann-Whitney, ties count one half. 0.5 is chance.",
    "TPR@FPR=a": "The largest TPR over thresholds whose FPR is at most a, without interpolation. *Not measurable* below 10/a "
    "negatives.",
    "Excess over blind": "AUC less that of the best classifier that never saw the model.",
    "Intervals": "95 %, bootstrap over people, never over photos of one person as if they were independent; BCa, else "
    "percentile, else Clopper-Pearson.",
    "Rank": "Layers of entries that no other significantly dominates in (utility, leakage): paired bootstrap over people and "
    "seeds. No blended score.",
}

THREATS = """
The attacker holds the backbone, or what a deployed system returns, never the training head: attacks that need it are run as a
reference. What else is known is part of each attack's setting: nothing, a labelled share of the people, or public
faces for shadow backbones. Every defence is attacked by someone who knows it; without such an adaptive attack an entry is shown
and not ranked.

**A low leakage is no proof of privacy.** It says that these attacks, with this knowledge and this much data, did not
find more. A claimed ε holds for the unit that it names and for what it covers.
"""

ROUNDS = """
In a **round** the held-out people, unseen photos and verification people of the synthetic tracks follow from a secret of the
evaluator's. Its sha256 was published when the round opened, and the secret is revealed when it ends: `faceveil round check`.
"""

USE = """
FaceVeil attacks models in order to measure defences. Use it on models that you own or may test, and on faces whose terms allow
it. The synthetic tracks contain no real person. Reconstructions of real people are never shown.

Withdrawn entries stay listed as withdrawn, so that the record of what was tried stays whole.
"""


def page() -> None:
    """Draws the page."""
    st.title("About", anchor=False)
    st.markdown(PURPOSE)
    st.subheader("What is measured", anchor="measures")
    st.markdown(MEASURES)
    st.image(roles(), "Who plays which role, and the two contrasts.", width="stretch", alt="Roles of people and two contrasts.")
    rows = [f"| {name} | {text} |" for name, text in NUMBERS.items()]
    st.markdown("\n".join(["| Number | What it is |", "|---|---|", *rows]))
    st.subheader("Threat model", anchor="threats")
    st.markdown(THREATS)
    st.image(
        stages(), "The two stages of arXiv 2401.13719.", width="stretch", alt="Membership inference, then guided inversion."
    )
    _generators()
    st.subheader("Protocol", anchor="protocol")
    _protocol()
    st.subheader("Responsible use", anchor="use")
    st.markdown(USE)
    st.subheader("How to cite", anchor="cite")
    st.markdown(
        "Cite the benchmark, and the papers of the attacks and defences concerned (page *Attacks*). Each entry has its own."
    )
    st.code(BIBTEX, language="bibtex")


def _generators() -> None:
    """What the generators draw that inversions search, where the operator put pictures of it."""
    shown = galleries.generator_samples()
    if not shown:
        return
    st.subheader("What the generators draw", anchor="generators")
    st.caption("The space of faces that inversions search. Drawn by chance: nothing here was rebuilt from a backbone.")
    for samples in shown:
        st.text(samples.name)
        st.image(samples.png, alt=f"Samples of the generator {samples.name}")


def _protocol() -> None:
    st.markdown(
        f"This board evaluates under protocol **{PROTOCOL_VERSION}**. Records of different versions never share a ranking; "
        "older ones stay on the board, under *Protocol and data*."
    )
    changes = pd.DataFrame(reversed(list(CHANGES.items())), columns=["protocol", "what changed"])
    st.dataframe(changes, hide_index=True, height="auto", alt="Changes of the protocol.")
    st.dataframe(pd.DataFrame(map(_track, TRACKS.values())), hide_index=True, height="auto", alt="The tracks.")
    rounds = []
    with contextlib.suppress(StoreError):  # a board of files alone has none
        rounds = store().rounds.all()
    if rounds:
        st.markdown(ROUNDS)
        shown = pd.DataFrame([row.model_dump() for row in rounds])
        st.dataframe(shown, hide_index=True, height="auto", alt="Rounds, their hashes and revealed secrets.")


def _track(track: Track) -> dict[str, object]:
    roles = track.roles
    return {
        "track": track.name,
        "what": track.summary,
        "image": f"{track.image_size} px",
        "members × seen photos": f"{roles.members} × {roles.seen}",
        "held-out": roles.held_out,
        "verification": roles.verification,
        "public": roles.public,
        "auxiliary": roles.auxiliary,
        "backbones an entry": track.population,
        "backbone": track.backbone.name,
        "epochs": track.training.epochs,
        "attacks": len(track.attacks),
        "CPU minutes an entry": track.entry_minutes,
        "digest": track.digest,
    }
