"""Records as CSV, JSON, and Hugging Face metadata.

CSV: one row a record; :data:`COLUMNS` are in every file.  Behind them come, as far as any record has them,
``utility/<metric>``, and for each attack ``<attack>/status`` and ``<attack>/<contrast>/<metric>``.  Every measured number is
three columns: the value, and with ``_low`` and ``_high`` the 95 % interval.  An empty cell: not measured, or not measurable.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.interfaces import Contrast
from benchmark.records.record import Record
from benchmark.records.results import AttackResult, Metric

COLUMNS: dict[str, str] = {
    "name": "of the entry, from its card",
    "team": "who submitted it",
    "track": "evaluation setting",
    "protocol_version": "records of different versions are not comparable",
    "board": "verified (re-trained by the evaluator) or weights (trained elsewhere)",
    "defense": "defences with their settings",
    "defense_family": "none, bn_statistics, dp, training, architecture or embedding",
    "seed": "of the training",
    "targets": "backbones of the entry's population, each a target in its turn",
    "shadows": "what the query pool was trained under: same_defense or undefended",
    "backbone": "architecture",
    "norm": "normalisation layers",
    "embedding_size": "dimensions",
    "initialised_from": "empty: trained from scratch",
    "additional_data": "names of data beyond the track's members",
    "claim_epsilon": "claimed differential privacy",
    "claim_delta": "of the claim",
    "claim_unit": "photo or person",
    "claim_covers": "model, or bn_statistics alone",
    "claim_tuning_runs": "trainings on the private photos that the claim covers; 1: tuning is not in it",
    "complete": "every attack was run",
    "unranked": "reasons, empty: ranked",
    "flags": "names of the red flags",
    "gate_valid": "whether a contrast of the headline passes the blind gate",
    "blind_auc_sample": "strongest AUC without any target, seen against unseen photos",
    "blind_auc_identity": "strongest AUC without any target, members against other people",
    "utility": "headline: TAR@FAR=1e-3, higher is better",
    "utility_low": "",
    "utility_high": "",
    "utility_n": "verification people",
    "leakage": "headline: membership advantage, lower is better",
    "leakage_low": "",
    "leakage_high": "",
    "leakage_n": "people",
    "nothing_found": "true: leakage is not significantly above 0 and counts as 0 in the ranking; leakage_high is not ruled out",
    "leakage_contrast": "sample or identity, whichever leaks more",
    "leakage_attack": "the strongest attack",
    "low_fpr": "TPR@FPR=0.1 % of that attack, lower is better",
    "low_fpr_low": "",
    "low_fpr_high": "",
    "exposed": "membership advantage among the 1 % of photos that are most exposed, lower is better",
    "exposed_low": "",
    "exposed_high": "",
    "created": "ISO 8601, UTC",
    "seconds": "of the evaluation",
    "device": "of the evaluation",
    "submission_id": "sha256 of weights and inference transform",
    "weights_sha256": "sha256 of the weights",
    "configuration": "records that share it differ in their seed alone",
    "split_digest": "who plays which role",
    "data_digest": "of the photos",
}
ATTACK_METRICS = ("auc", "advantage", "tpr@fpr=1e-2", "tpr@fpr=1e-3")

# what a spreadsheet takes for the start of a formula, full-width forms included
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def to_json(records: Sequence[Record]) -> str:
    """Records as a JSON list that :meth:`benchmark.service.store.Store.import_records` reads."""
    return "[" + ",\n".join(record.model_dump_json() for record in records) + "]\n"


def to_csv(records: Sequence[Record]) -> str:
    """Records as CSV (RFC 4180, texts quoted), safe in a spreadsheet: text that begins like a formula gets a ``'``."""
    rows = [_row(record) for record in records]
    columns = list(dict.fromkeys([*COLUMNS, *(column for row in rows for column in row)]))
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow([_cell(column) for column in columns])
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def harmless(value: Any) -> Any:
    """The value; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else harmless(value)


def _row(record: Record) -> dict[str, Any]:
    card, source = record.card, record.provenance
    families = [record.defenses[d.name].family for d in card.defenses if d.name in record.defenses]
    row = {
        **card.model_dump(include={"name", "team", "seed", "norm", "embedding_size", "initialised_from"}),
        **record.model_dump(include={"track", "protocol_version", "board", "complete", "shadows"}),
        "defense": card.defense_label,
        "defense_family": " + ".join(families),
        "backbone": card.backbone.name,
        "additional_data": "; ".join(data.name for data in card.additional_data),
        "unranked": "; ".join(record.unranked),
        "flags": "; ".join(flag.name for flag in record.flags),
        "gate_valid": record.gate.valid,
        "blind_auc_sample": record.gate.best_auc(Contrast.SAMPLE),
        "blind_auc_identity": record.gate.best_auc(Contrast.IDENTITY),
        **source.model_dump(include={"created", "seconds", "device", "submission_id", "weights_sha256"}),
        "configuration": record.configuration,
        "split_digest": source.split_digest,
        "data_digest": source.data_digest,
    }
    if card.claim:
        row |= {f"claim_{key}": getattr(card.claim, key) for key in ("epsilon", "delta", "unit", "covers", "tuning_runs")}
    return row | _headline(record) | _utility(record) | _attacks(record)


def _interval(name: str, metric: Metric) -> dict[str, float | None]:
    return {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}


def _headline(record: Record) -> dict[str, Any]:
    headline = record.headline
    if headline is None:
        return {}
    return {
        **_interval("utility", headline.utility),
        "utility_n": headline.utility.n,
        **_interval("leakage", headline.leakage),
        "leakage_n": headline.leakage.n,
        "nothing_found": headline.nothing_found,
        "targets": headline.targets,
        **(_interval("low_fpr", headline.low_fpr) if headline.low_fpr else {}),
        **(_interval("exposed", headline.exposed) if headline.exposed else {}),
        "leakage_contrast": str(headline.leakage_contrast),
        "leakage_attack": headline.leakage_attack,
    }


def _utility(record: Record) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, metric in record.utility.items():
        cells |= _interval(f"utility/{name}", metric)
    return cells


def _attack_name(attack: AttackResult) -> str:
    return f"{attack.label} [adaptive]" if attack.adaptive else attack.label


def _attacks(record: Record) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for attack in record.membership:
        name = _attack_name(attack)
        cells[f"{name}/status"] = attack.status
        for contrast, result in attack.contrasts.items():
            for metric in ATTACK_METRICS:
                if metric in result.metrics:
                    cells |= _interval(f"{name}/{contrast}/{metric}", result.metrics[metric])
    return cells


def to_model_index(record: Record) -> dict[str, Any]:
    """The ``model-index`` entry for the YAML head of a model card on the Hugging Face Hub.

    Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.  What could not be measured is left out, since a
    value is required there.
    """
    dataset = {
        "type": f"faceveil-{record.track}",
        "name": f"FaceVeil {record.track}, protocol {record.protocol_version}",
        "revision": record.provenance.split_digest,
    }
    results = [_result("image-feature-extraction", "Face verification", dataset, _metrics(record.utility, ""))]
    for contrast in Contrast:
        metrics: list[dict[str, Any]] = []
        for attack in record.membership:
            if contrast in attack.contrasts:
                wanted = {name: attack.contrasts[contrast].metrics.get(name) for name in ATTACK_METRICS}
                metrics += _metrics(wanted, f" of {_attack_name(attack)}")
        results.append(_result(f"membership-inference-{contrast}", f"Membership inference ({contrast})", dataset, metrics))
    return {"model-index": [{"name": record.card.name, "results": [result for result in results if result["metrics"]]}]}


def _result(kind: str, name: str, dataset: dict[str, Any], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    return {"task": {"type": kind, "name": name}, "dataset": dict(dataset), "metrics": metrics}


def _metrics(metrics: Mapping[str, Metric | None], of: str) -> list[dict[str, Any]]:
    return [
        {
            "type": name,
            "value": metric.value,
            "name": f"{name}{of}",
            "args": {"low": metric.low, "high": metric.high, "confidence": 0.95, "n": metric.n, "unit": metric.unit},
        }
        for name, metric in metrics.items()
        if metric is not None and metric.value is not None
    ]


def to_eval_results(record: Record, dataset_id: str, source_url: str = "") -> list[dict[str, Any]]:
    """The two headline numbers as entries of a ``.eval_results/*.yaml`` file on the Hugging Face Hub.

    Format: https://github.com/huggingface/hub-docs/blob/main/eval_results.yaml.

    Args:
        dataset_id: ``namespace/name`` of the benchmark dataset on the Hub that lists the tasks ``<track>_utility`` and
            ``<track>_membership_leakage``.
        source_url: where the record can be read.
    """
    if record.headline is None:
        return []
    named = {"utility": record.headline.utility, "membership_leakage": record.headline.leakage}
    entries = []
    for name, metric in named.items():
        if metric.value is None:
            continue
        interval = "" if metric.low is None else f", 95 % interval {metric.low:.4f} to {metric.high:.4f}"
        if name == "membership_leakage" and record.headline.nothing_found:
            interval += ", nothing found"
        entry: dict[str, Any] = {
            "dataset": {"id": dataset_id, "task_id": f"{record.track}_{name}"},
            "value": metric.value,
            "date": record.provenance.created,
            "notes": f"protocol {record.protocol_version}, {record.card.defense_label}, n = {metric.n} {metric.unit}{interval}",
        }
        if source_url:
            entry["source"] = {"url": source_url, "name": "FaceVeil"}
        entries.append(entry)
    return entries


def model_index_yaml(records: Sequence[Record]) -> str:
    """:func:`to_model_index` of some records as the YAML that goes between the ``---`` of a model card."""
    return _yaml({"model-index": [entry for record in records for entry in to_model_index(record)["model-index"]]})


def eval_results_yaml(records: Sequence[Record], dataset_id: str, source_url: str = "") -> str:
    """:func:`to_eval_results` of some records as the text of a ``.eval_results/*.yaml`` file."""
    return _yaml([entry for record in records for entry in to_eval_results(record, dataset_id, source_url)])


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=128)
