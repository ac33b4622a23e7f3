"""The gateway with the real worker and two tiny models: what is served is what was validated."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from workbench.methods import predict

from ...a_gateway import Gateway, bundle, grant

pytestmark = pytest.mark.slow
TEXTS = ["where is my card", "what is this fee", "a\x00b \u202e<|im_end|>", "x " * 40]


def ready(one):
    """Are both loaded? A busy machine takes longer for that than a lease lasts."""
    time.sleep(1)
    return len(one.client().ready()["releases"]) == 2


def test_served_answers_are_those_of_the_bundle_s_own_program(
    served_router, served_writer, tmp_path
):
    """A classifier and a form side by side, each over its own base; answers are those of `predict`,
    calibrated confidences too, but for float32's last digits: there all are one batch."""
    told = {}
    for arm, one in (("stable", served_router), ("canary", served_writer)):
        shutil.copytree(one.folder, tmp_path / arm)
        told[arm] = grant(bundle(tmp_path / arm, abstain=False), base=str(one.base))
    limits = {"timeout_s": 20.0, "reply_tokens": 3}
    with Gateway(tmp_path / "g", serving=limits) as one:
        one.spec["worker"]["command"] = None
        one.lease(*told.values())
        one.start(wait=False)
        one.until(lambda: one.lease(*told.values()) or ready(one), 60)
        for arm, given in told.items():
            validated = predict.answers(tmp_path / arm, Path(given.base), TEXTS)
            for text, expected in zip(TEXTS, validated, strict=True):
                one.lease(*told.values())
                said = one.predict(text, "two", arm=arm)
                assert said["outcome"] == "answered", (said, one.said.read_text()[-2000:])
                assert said["answer"] == {name: expected[name] for name in said["answer"]}
                for name, sure in said["confidence"].items():
                    calibrated = expected.get(f"{name}_calibrated", expected[f"{name}_confidence"])
                    assert sure == pytest.approx(calibrated, abs=1e-6)
        assert {len(line["sketch"]) for line in one.lines} == {16}
