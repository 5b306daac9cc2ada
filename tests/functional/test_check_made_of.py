# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""`check` prints the source model of a release, and verifies whether it is a given model."""

import json

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.manifest import write_manifest
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify.check import check


def test_made_of_another_model_is_a_problem(tiny, other, root, capsys):
    assert main(["check", str(root), "--made-of", str(tiny.hf)]) == 0
    shown = capsys.readouterr().out
    assert f"source model: {tiny.hf}\n" in shown
    assert f"note: {tiny.hf} matches the recorded source model.\n" in shown
    assert main(["check", str(root), "--made-of", str(other.hf)]) == 1
    assert (
        f"problem 1: {root} was imported from {tiny.hf}, not from {other.hf} (different weights"
        in capsys.readouterr().out
    )


def test_made_of_is_not_asked_where_there_is_no_release(default, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "missing", tmp_path / "empty", default):
        assert main(["check", str(root), "--made-of", "a/model", "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        (problem,) = report["problems"]
        assert "a/model" not in problem
        assert report["notes"][-1] == "Source model not compared with a/model: fix the problems first."


def test_a_release_that_does_not_say_what_it_was_made_of_is_noted_and_repair_asks_its_run_config(tiny, root, capsys):
    (root / "release/source.json").unlink()
    write_manifest(root / "release")
    report = check(root)
    assert report.passed and report.source_model is None
    assert report.notes == [
        f"{root}/release does not record its source model. python -m megatron.bridge.release repair {root}"
    ]
    assert main(["check", str(root), "--made-of", str(tiny.hf)]) == 1
    assert "does not record its source model, which may not be" in capsys.readouterr().out
    steps = repair(root)
    assert steps == [f"write release/source.json: imported from {tiny.hf}", "write release/integrity.json"]
    assert main(["check", str(root), "--made-of", str(tiny.hf)]) == 0 and not check(root).notes
    assert main(["check", str(root), "--made-of", "another/model"]) == 1


def test_a_damaged_record_of_the_model_is_written_anew(tiny, root):
    (root / "release/source.json").write_text("{")
    write_manifest(root / "release")
    (problem,) = check(root).problems
    assert problem.startswith(f"The source model of {root} is unknown: source.json is corrupt: ")
    repair(root)
    assert check(root).passed and check(root).source_model == str(tiny.hf)
