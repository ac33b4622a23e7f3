"""The data card: the bill's facts in words, with front matter that the hub reads."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from huggingface_hub import DatasetCard, DatasetCardData

from workbench.policy import data_card
from workbench.policy.bom import BomFacts, Run, SealedFile
from workbench.policy.sources import DataSource
from workbench.policy.usecase import Data, UseCase

DESK = {"id": "desk", "licence": "CC-BY-4.0", "language": ["en", "de"], "approved_by": "Ann",
        "approved_at": "2026-01-05"}  # fmt: skip
SETS = {"train": 800, "dev": 100, "locked": 100}


@pytest.fixture
def facts(usecase):
    declared = copy.deepcopy(usecase)
    declared["data"]["columns"]["text"] |= {
        "class": "personal", "legal_basis": "contract | Art. 6", "retention_days": 30,
    }  # fmt: skip
    declared["data"]["sources"] = [DESK]
    step = {"step": 1, "use": "deduplicate", "version": "1", "code_sha256": "a" * 64,
            "why": "said twice", "arguments": {"key": "Zebulon"}, "rows_in": 1003,
            "rows_out": 1000, "changed": 4, "created": 0, "removed": {"duplicate": 3}}  # fmt: skip
    return BomFacts(
        run=Run(UseCase.parse(declared), "20_dataset", "run-1", "2026-01-06T10:00:00+00:00", "0.3"),
        data=Data.parse(declared["data"]),
        labels=["cards", "<b>fees"],
        raw=SealedFile("rows.csv", "outputs/raw/rows.csv.enc", "d" * 64, 1003, "e" * 64),
        sets=[SealedFile(n, f"outputs/{n}.parquet", "1" * 64, k) for n, k in SETS.items()],
        steps=[step],
    )


def with_sources(facts: BomFacts, *sources: dict) -> BomFacts:
    found = [DataSource.parse(one) for one in sources]
    return replace(facts, data=facts.data.model_copy(update={"sources": found}))


def front(facts: BomFacts) -> dict:
    return DatasetCard(data_card.render(facts)).data.to_dict()


def test_the_hub_reads_the_front_matter(facts):
    """Hugging Face's own reader finds licence, languages, name, size, task and sets."""
    card = DatasetCard(data_card.render(facts))
    assert isinstance(card.data, DatasetCardData)
    assert card.data.license == "cc-by-4.0"
    assert card.data.language == ["de", "en"]
    assert card.data.pretty_name == "A router"
    assert card.data.task_categories == ["text-classification"]
    splits = card.data.to_dict()["dataset_info"]["splits"]
    assert splits == [{"name": name, "num_examples": rows} for name, rows in SETS.items()]


@pytest.mark.parametrize(
    ("rows", "named"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M")],
)
def test_the_size_is_a_category_of_the_hub(facts, rows, named):
    """The rows of all sets, in the hub's steps of ten."""
    sets = [replace(facts.sets[0], rows=rows)]
    assert front(replace(facts, sets=sets))["size_categories"] == [named]


@pytest.mark.parametrize(
    ("sources", "licence"),
    [
        ([], "unknown"),
        ([DESK, {"id": "forum"}], "unknown"),
        ([{"id": "forum", "licence": "Our terms"}], "other"),
        ([DESK, {"id": "forum", "licence": "MIT"}], "other"),
    ],
)
def test_a_licence_is_never_guessed(facts, sources, licence):
    """One source that states none makes the whole unknown; two licences are not one of them."""
    assert front(with_sources(facts, *sources))["license"] == licence


def test_a_language_that_nobody_stated_is_left_out(facts):
    """The card doesn't say English because the words look like it."""
    assert "language" not in front(with_sources(facts, {"id": "forum"}))


def test_the_card_says_what_happened(facts):
    """Snapshot, classes with owner, basis and retention, steps with reason and counts, sets."""
    lines = data_card.render(facts).splitlines()
    assert any("`rows.csv`, 1003 rows; classes by S. Teward." in line for line in lines)
    assert "| text | personal | input | desk | contract \\| Art. 6 | 30 |" in lines
    assert "| label | public | target | desk | not stated | not stated |" in lines
    assert "| 1 | deduplicate | 1 | said twice | 1003 | 1000 | 4 | 0 | duplicate: 3 |" in lines
    assert any(line.startswith("| train | 800 | ") for line in lines)


def test_the_card_lists_what_a_source_does_not_state(facts):
    """The checklist is of the standard; an approval that is lacking is not stated."""
    text = data_card.render(with_sources(facts, {"id": "forum", "issuer": "Forum"}))
    [line] = [line for line in text.splitlines() if line.startswith("| forum |")]
    assert "title" in line and "issuer" not in line
    assert "## Sources\n\nNone.\n" in data_card.render(with_sources(facts))


def test_nothing_in_a_cell_breaks_out(facts):
    """Words of the declaration are no markup, and arguments, which may quote rows, stay out."""
    text = data_card.render(facts)
    assert "<b>" not in text and "&lt;b&gt;fees" in text
    assert "Zebulon" not in text


def test_without_a_step_the_card_says_so(facts):
    """An empty table would leave it open."""
    assert "## Steps\n\nNone.\n" in data_card.render(replace(facts, steps=[]))
