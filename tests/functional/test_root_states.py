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


"""Whatever a root holds, who reads, checks or repairs it gets an answer or one clear error, and loses nothing."""

import os
import shutil
import uuid
from collections import Counter
from pathlib import Path

import pytest
from faults import SEED
from hypothesis import given, settings
from hypothesis import strategies as st
from roots import visible_contents

from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import ADDED_FILES, TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify.check import check
from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder


# What may stand under a checkpoint folder's name.
CONTENTS = ("a release", "an import", "another import", "nothing", "a part", "a file", "a link", "a dangling link")
FOLDERS = ("release", "iter_0000000", "iter_0000100", "release/iter_0000001", "release/release")
TRACKERS = (
    "release",
    "release\n",
    "0",
    "1",
    "100",
    "0000",
    "-1",
    "relea",
    "",
    "\0",
    "\N{SUPERSCRIPT TWO}",
    "9" * 5000,
)
LEFT = (".release-lock", ".release-staging-x", ".release-replaced-x", ".release-notes", "notes.txt")

anything = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.sampled_from(CONTENTS) for name in FOLDERS},
        TRACKER: st.sampled_from(TRACKERS),
        TRAIN_STATE_TRACKER: st.sampled_from(("whole", "torn")),
    },
)
# Of what is drawn at random the most holds no import, or more than one.
roots = st.one_of(
    anything,
    st.builds(
        lambda name, content, rest: {**rest, name: content},
        st.sampled_from(("release", "iter_0000000", "release/iter_0000001")),
        st.sampled_from(("a release", "an import")),
        st.fixed_dictionaries({}, optional={TRACKER: st.sampled_from(TRACKERS), TRAIN_STATE_TRACKER: st.just("torn")}),
    ),
)
leftovers = st.sets(st.sampled_from(LEFT), max_size=2)
# Taken out of the first whole checkpoint.
missing = st.sampled_from(
    (None, None, None, ".metadata", "__0_0*.distcp", "run_config.yaml", "common.pt", "integrity.json")
)


@pytest.fixture(scope="module")
def sources(tiny, other, default, tmp_path_factory) -> dict[str, Path]:
    """Checkpoint folders to fill roots with."""
    folder = tmp_path_factory.mktemp("sources")
    another = Path(shutil.copytree(other.root / "release", folder / "another"))
    for name in ("common.pt", *ADDED_FILES):
        (another / name).unlink()
    return {
        "a release": tiny.root / "release",
        "an import": default / "iter_0000000",
        "another import": another,
    }


def _make(root: Path, contents: dict[str, str], left: set[str], lacking: str | None, sources: dict[str, Path]) -> None:
    root.mkdir()
    for name, content in sorted(contents.items()):
        path = root / name
        if name == TRACKER:
            path.write_text(content)
        elif name == TRAIN_STATE_TRACKER:
            data = (sources["a release"] / "train_state.pt").read_bytes()
            path.write_bytes(data if content == "whole" else data[:100])
        elif path.parent != root and (path.parent.exists() and not path.parent.is_dir() or path.parent.is_symlink()):
            continue
        elif content in sources:
            shutil.copytree(sources[content], path, copy_function=os.link)
        elif content == "a part":
            path.mkdir(parents=True)
            shutil.copy(sources["an import"] / "__0_0.distcp", path)
        elif content == "nothing":
            path.mkdir(parents=True)
        elif path.parent != root:
            continue
        elif content == "a file":
            path.write_text("a file")
        else:
            path.symlink_to("iter_0000000" if content == "a link" and name != "iter_0000000" else "nowhere")
    for name in left:
        if name.startswith(".release-s") or name.startswith(".release-r"):
            (root / name).mkdir()
        else:
            (root / name).write_text("left")
    for file in sorted(root.rglob(lacking or "nothing at all"))[:1]:
        file.unlink()


def _shards(root: Path) -> set[bytes]:
    """Every checkpoint's tensors, whatever its folder is called."""
    return {data for name, data in visible_contents(root).items() if name.endswith(".distcp")}


def _try(root: Path) -> str:
    """Resolve, check and repair a root; tell whether the repair was made or refused."""
    before, shards = visible_contents(root), _shards(root)
    try:
        assert Path(resolve_checkpoint_folder(root)).is_relative_to(root)
    except (ValueError, FileNotFoundError) as error:
        assert str(root) in str(error)
    report = check(root)
    assert main(["check", str(root), "--json"]) == (0 if report.passed else 1)
    assert report.passed or report.problems and all(str(problem).strip() for problem in report.problems)
    planned = main(["repair", str(root), "--dry-run"])
    assert visible_contents(root) == before

    try:
        repair(root)
    except (ValueError, RuntimeError, OSError) as error:
        assert planned == 1
        assert str(root) in str(error)
        assert visible_contents(root) == before
        return "refused"
    assert planned == 0
    assert check(root).passed, check(root).problems
    after = visible_contents(root)
    assert repair(root) == [] and visible_contents(root) == after
    assert _shards(root) == shards
    foreign = {name: data for name, data in before.items() if name.startswith("notes")}
    assert foreign.items() <= after.items()
    return "repaired" if after != before else "right already"


def test_random_directories_are_valid_repaired_or_refused(sources, tmp_path):
    ends: Counter[str] = Counter()
    kept = {source: _shards(folder) for source, folder in sources.items()}

    @settings(max_examples=250 if SEED == "all" else 80, deadline=None, derandomize=True)
    @given(roots, leftovers, missing)
    def try_any(contents: dict[str, str], left: set[str], lacking: str | None) -> None:
        root = tmp_path / uuid.uuid4().hex
        _make(root, contents, left, lacking, sources)
        ends[_try(root)] += 1
        assert kept == {source: _shards(folder) for source, folder in sources.items()}
        shutil.rmtree(root)

    try_any()
    # Each end is one that many of them come to.
    assert min(ends["refused"], ends["repaired"]) >= sum(ends.values()) // 5, ends
