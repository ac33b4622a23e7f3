"""A use case on disk: what is read, and which paths are refused."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.execution.project import Project, load_yaml, open_store, runs_folder


def test_a_use_case_is_read_with_its_policy(lab):
    """Root, use case and policy of the folder that is named."""
    project = Project.load(lab.usecase)
    assert project.usecase.id == "tiny" and project.policy.required == ["enough_rows", "accuracy"]


def test_a_folder_without_a_use_case_is_wrong_input(tmp_path):
    """The error says how to make one."""
    with pytest.raises(InputError, match="no usecase.yaml") as refused:
        Project.load(tmp_path)
    assert "workbench new" in str(refused.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00", "", "a: \xff"])
def test_broken_yaml_is_wrong_input(tmp_path, text):
    """Neither a traceback nor half a configuration."""
    (tmp_path / "usecase.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="not readable YAML|not a mapping"):
        load_yaml(tmp_path / "usecase.yaml")


def test_a_folder_in_the_place_of_a_file_is_wrong_input(lab):
    """`policy: data` names a folder."""
    lab.configure(policy="data")
    with pytest.raises(InputError, match="not readable"):
        Project.load(lab.usecase)


@pytest.mark.parametrize("path", ["../policy.yaml", "/etc/passwd", "link.yaml"])
def test_a_path_that_leaves_the_use_case_is_refused(lab, path):
    """Whether by dots, absolute or through a link: the field is named."""
    (lab.usecase.parent / "policy.yaml").write_text("version: 1\n")
    (lab.usecase / "link.yaml").symlink_to("../policy.yaml")
    lab.configure(policy=path)
    with pytest.raises(InputError, match="leaves the use case") as refused:
        Project.load(lab.usecase)
    assert "usecase.yaml: policy" in str(refused.value) and path in str(refused.value)


def test_a_path_that_is_not_there_is_named(lab):
    """The field and the missing path."""
    lab.configure(policy="missing.yaml")
    with pytest.raises(InputError, match="does not exist") as refused:
        Project.load(lab.usecase)
    assert "missing.yaml" in str(refused.value)


def test_stores_are_one_for_each_track(lab):
    """$WORKBENCH_RUNS or `runs/` of the use case; another track is unknown."""
    assert runs_folder(lab.usecase) == lab.runs
    assert Project.load(lab.usecase).store("governed").track == "governed"
    with pytest.raises(InputError, match="no such track"):
        open_store(lab.runs, "private", create=True)
    with pytest.raises(InputError, match="no research store yet"):
        open_store(lab.runs, "research", create=False)
