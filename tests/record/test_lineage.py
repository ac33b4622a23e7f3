"""The graph from data to product, by digest."""

from __future__ import annotations

from workbench.record.lineage import Graph
from workbench.record.statement import ResourceDescriptor, file_input


def test_ancestors_and_descendants(store, seal):
    """All that a record stands on, and all that stands on it, through any number of steps."""
    a = seal(store)
    b = seal(store, "20_dataset", inputs=[a.as_input("notebook.ipynb")])
    c = seal(
        store, "30_adapt", inputs=[b.as_input("outputs/cases.csv"), a.as_input("outputs/run.sh")]
    )
    alone = seal(store, "99_other", inputs=[file_input("data.csv", "0" * 64)])
    graph = Graph.from_store(store)
    assert graph.ancestors(c.digest) == {a.digest, b.digest}
    assert graph.descendants(a.digest) == {b.digest, c.digest}
    assert graph.ancestors(alone.digest) == graph.descendants(alone.digest) == set()
    assert [i.name for i in graph.inputs(c)] == ["outputs/cases.csv", "outputs/run.sh"]
    assert graph.missing(c.digest) == []


def test_an_input_that_is_not_here_is_named(store, seal):
    """A record of another store: part of the ancestry, and named as missing."""
    foreign = ResourceDescriptor(
        name="model.bin",
        digest={"sha256": "1" * 64},
        uri="record:30_adapt/x/model.bin",
        annotations={"record": "f" * 64},
    )
    record = seal(store, inputs=[foreign])
    child = seal(store, "40_functional", inputs=[record.as_input("notebook.ipynb")])
    graph = Graph.from_store(store)
    assert "f" * 64 in graph.ancestors(child.digest)
    assert graph.missing(child.digest) == [f"record:30_adapt/x/model.bin ({'f' * 64})"]
    assert graph.descendants("f" * 64) == {record.digest, child.digest}
