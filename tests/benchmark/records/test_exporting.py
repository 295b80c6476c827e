"""Exports: every number where the documentation says it is, and texts that cannot harm who opens them."""

from __future__ import annotations

import csv
import io
import json

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from record_factory import make_record

from benchmark.interfaces import Contrast
from benchmark.records.exporting import COLUMNS, to_csv, to_eval_results, to_json, to_model_index
from benchmark.records.record import Record
from benchmark.submissions.card import AdditionalData, Claim
from benchmark.submissions.report import Flag


def frame(*records: Record) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(to_csv(records)), keep_default_na=False, na_values=[""])


def test_csv_has_the_documented_columns_and_the_records_numbers() -> None:
    record = make_record(
        defense="bn_perturbation",
        settings={"rho": 0.1},
        utility=0.61,
        leakage=0.32,
        photos=1200,
        unranked=("one", "two"),
        flags=(Flag(name="bn_not_counted", severity="info", reason="r"),),
        card={
            "claim": Claim(epsilon=3.5, delta=1e-5, unit="photo", covers="bn_statistics"),
            "additional_data": (AdditionalData(name="faces", use="warm-up"),),
        },
    )
    table = frame(record)
    row = table.iloc[0]
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert len(table) == 1
    assert (row.utility, row.utility_low, row.utility_high) == pytest.approx((0.61, 0.57, 0.65))
    assert (row.leakage, row.leakage_low, row.leakage_high) == pytest.approx((0.32, 0.28, 0.36))
    assert row.defense == "bn_perturbation(rho=0.1)"
    assert row.defense_family == "bn_statistics"
    assert (row.claim_epsilon, row.claim_delta, row.claim_unit, row.claim_covers) == (3.5, 1e-5, "photo", "bn_statistics")
    assert (row["unranked"], row["flags"], row["additional_data"]) == ("one; two", "bn_not_counted", "faces")
    assert row.complete
    assert row.submission_id == record.provenance.submission_id
    auc = record.membership[0].contrasts[Contrast.SAMPLE].metrics["auc"]
    assert tuple(row[[f"regrown_head/sample/auc{end}" for end in ("", "_low", "_high")]]) == (auc.value, auc.low, auc.high)
    assert row["bn_distance(statistics=feature_means) [adaptive]/status"] == "not_applicable"
    assert row["utility/tar@far=1e-3"] == 0.61


def test_csv_leaves_empty_what_was_not_measured() -> None:
    table = frame(make_record(headline=False), make_record(name="other", photos=1200))
    assert list(table.name) == ["undefended", "other"]
    assert table.utility.isna().tolist() == [True, False]
    assert table["regrown_head/sample/tpr@fpr=1e-2"].isna().tolist() == [True, False]
    assert table["regrown_head/sample/tpr@fpr=1e-3"].isna().all()


def test_csv_of_nothing_is_its_header() -> None:
    assert next(csv.reader(io.StringIO(to_csv([])))) == list(COLUMNS)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1dcmd", "  =1", "\t=1"])
def test_csv_disarms_formulas(text: str) -> None:
    row = frame(make_record(name=text.strip(), unranked=(text,), settings={"rho": -1}, defense="=x")).iloc[0]
    assert row["name"] == f"'{text.strip()}", "nothing but the quote is added"
    assert row.unranked == f"'{text}"
    assert row.defense == "'=x(rho=-1)"


def test_csv_leaves_numbers_and_separators_whole() -> None:
    record = make_record(name="a;=1", leakage=0.0, unranked=('b,"c"',))
    text = to_csv([record])
    assert '"a;=1",' in text, "quoted, so that a spreadsheet that splits at ; does not make a cell of =1"
    assert frame(record).unranked[0] == 'b,"c"'
    excess = record.membership[0].contrasts[Contrast.SAMPLE].metrics["advantage"]
    assert frame(record)["regrown_head/sample/advantage"].iloc[0] == excess.value == 0
    assert pd.api.types.is_numeric_dtype(frame(record)["leakage_low"])


def test_json_is_a_list_of_records() -> None:
    records = [make_record(seed=seed) for seed in range(2)]
    assert [Record.model_validate(item) for item in json.loads(to_json(records))] == records
    assert json.loads(to_json([])) == []


def test_model_index_is_what_the_hub_reads() -> None:
    record = make_record(photos=1200)
    name, results = model_index_to_eval_results(to_model_index(record)["model-index"])
    assert name == record.card.name
    found = {(result.task_type, result.metric_name): result.metric_value for result in results}
    assert found["image-feature-extraction", "tar@far=1e-3"] == 0.7
    sample = record.membership[0].contrasts[Contrast.SAMPLE].metrics["auc"]
    assert found["membership-inference-sample", "auc of regrown_head"] == sample.value
    assert not any(metric.startswith("tpr@fpr=1e-3") for _, metric in found), "not measurable"
    assert not any(result.verified for result in results), "the Hub alone may say so"
    assert {result.dataset_revision for result in results} == {record.provenance.split_digest}


def test_model_index_survives_a_model_card() -> None:
    text = yaml.safe_dump(to_model_index(make_record()), sort_keys=False)
    card = ModelCard(f"---\n{text}---\n# Model\n")
    assert isinstance(card.data, ModelCardData)
    assert card.data.eval_results


def test_eval_results_are_what_the_hub_reads() -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs a huggingface_hub that knows .eval_results")
    parse = getattr(hub, "parse_eval_result_entries", None)
    if parse is None:
        pytest.skip("this huggingface_hub does not know .eval_results")
    record = make_record(utility=0.61, leakage=0.32)
    entries = to_eval_results(record, "faceveil/benchmark", "https://example.org/r")
    utility, leakage = parse(yaml.safe_load(yaml.safe_dump(entries)))
    assert (utility.dataset_id, utility.task_id, utility.value) == ("faceveil/benchmark", "synthetic-quick_utility", 0.61)
    assert (leakage.task_id, leakage.value) == ("synthetic-quick_membership_leakage", 0.32)
    assert leakage.source_url == "https://example.org/r"
    assert "0.2800 to 0.3600" in leakage.notes
    assert "source" not in to_eval_results(record, "a/b")[0]
    assert to_eval_results(make_record(headline=False), "a/b") == []
