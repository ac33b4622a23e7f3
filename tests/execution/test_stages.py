"""Stage templates: what a notebook declares, which ones apply, in which order."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.execution.project import Project
from workbench.execution.stages import Source, Stage, order, stages_for, templates_root


def stage(name, *needs):
    return Stage(None, {"stage": name, "inputs": {n: f"{n}/out.json" for n in needs}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20_dataset/train.parquet", Source("20_dataset", "train.parquet")),
        ("15_base/model/base.json", Source("15_base", "model/base.json")),
        ("20_dataset/locked.parquet!", Source("20_dataset", "locked.parquet", locked=True)),
        ("41_policy/verdicts.json?", Source("41_policy", "verdicts.json", optional=True)),
        ("usecase:cases?", Source("usecase", "cases", optional=True)),
        ("base:source", Source("base", "source")),
    ],
)
def test_sources_are_read(text, expected):
    """Origin, path, and the marks for optional and locked."""
    assert Source.parse(text) == expected
    assert Source.parse(text).from_stage == (expected.origin not in ("usecase", "base"))


def test_stages_follow_what_they_need_and_their_names_where_free():
    """The graph decides, then the number in the name."""
    found = order([stage("30_c"), stage("20_b", "40_d"), stage("40_d", "30_c"), stage("10_a")])
    assert [one.name for one in found] == ["10_a", "30_c", "40_d", "20_b"]


def test_a_circle_is_refused():
    """The stages in it are named."""
    with pytest.raises(InputError, match="circle") as refused:
        order([stage("10_a", "20_b"), stage("20_b", "10_a")])
    assert "10_a, 20_b" in str(refused.value)


def test_a_use_cases_own_notebook_replaces_a_shipped_one_of_its_file_name(lab):
    """And one that applies to no kind is left out."""
    project = Project.load(lab.usecase)
    found = {one.name: one.notebook for one in stages_for(lab.usecase, project.usecase)}
    assert list(found) == ["05_inspection", "10_intake", "20_dataset", "30_adapt", "40_functional",
                           "50_candidate", "55_release", "60_preproduction", "70_deploy",
                           "80_monitor"]  # fmt: skip
    assert found["20_dataset"].is_relative_to(lab.usecase)
    lab.shipped("20_dataset")
    found = {one.name: one.notebook for one in stages_for(lab.usecase, project.usecase)}
    assert found["20_dataset"].is_relative_to(templates_root())


def test_two_notebooks_of_one_stage_are_refused(lab):
    """Else one of them would be judged by the other's name."""
    lab.stage("21_again", stage="20_dataset")
    with pytest.raises(InputError, match="Two notebooks") as refused:
        stages_for(lab.usecase, Project.load(lab.usecase).usecase)
    assert "21_again" in str(refused.value)


@pytest.mark.parametrize(
    "text", ["{", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}']
)
def test_a_notebook_that_says_nothing_is_refused(tmp_path, text):
    """Unreadable, or without a stage's name."""
    (tmp_path / "x.ipynb").write_text(text)
    with pytest.raises(InputError, match="cannot be read|does not say"):
        Stage.load(tmp_path / "x.ipynb")


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "raw/../../*"])
def test_rows_are_looked_for_in_the_outputs_only(lab, pattern):
    """The engine encrypts and removes what these patterns match."""
    lab.stage("20_dataset", rows=["*.parquet", pattern])
    with pytest.raises(InputError, match="leaves the outputs"):
        Stage.load(lab.usecase / "stages" / "20_dataset.ipynb")


def test_outputs_and_ids_are_no_part_of_a_templates_digest(lab):
    """What a notebook says and does decides, not what it showed when it was saved."""
    import nbformat

    path = lab.usecase / "stages" / "30_adapt.ipynb"
    before = Stage.load(path).source_digest
    nb = nbformat.read(path, as_version=4)
    nb.cells[-1].outputs = [nbformat.v4.new_output("stream", text="x")]
    nb.cells[-1].id = "other"
    nbformat.write(nb, path)
    assert Stage.load(path).source_digest == before
    nb.cells[-1].source += "\n1"
    nbformat.write(nb, path)
    assert Stage.load(path).source_digest != before


def test_every_shipped_stage_declares_a_readable_schema():
    """Question, inputs and parameters of each template."""
    for path in sorted((templates_root() / "stages").glob("*.ipynb")):
        found = Stage.load(path)
        assert found.name == path.stem and found.facts["question"] and found.inputs
        found.schema.check({})
