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

"""Of two ranks that import, one is killed or fails: the old checkpoint or the new one is there, bit by bit."""

import hashlib
import json
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import chosen
from roots import of_any_import, tree, visible_contents
from workers import run_worker

from megatron.bridge import AutoBridge


# What is another one in each import: the ID in its files' names, and the staging folder and an ID in .metadata.
_OF_THIS_IMPORT = re.compile(
    rb"\.release-staging-\w{8}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=\d)_[0-9a-f]{8}(?=\.distcp)"
)


def _bytes_of_any_import(root: Path) -> dict[str, bytes]:
    """All that a reader may see of a root, as each import to the same path writes it."""
    found = visible_contents(root)
    if "release/.metadata" in found:
        digest = hashlib.sha256(found["release/.metadata"]).hexdigest().encode()
        assert found["release/integrity.json"].count(digest) == 1
        found["release/integrity.json"] = found["release/integrity.json"].replace(digest, b"")
        for name in ("release/.metadata", "release/integrity.json"):
            found[name] = _OF_THIS_IMPORT.sub(b"", found[name])
    return {of_any_import(name): data for name, data in found.items()}


@dataclass(frozen=True)
class TwoRanks:
    """Results of `killed_ranks_worker.py`: checkpoint directories, exit statuses, contents before and after, operations."""

    out: Path
    ends: dict[str, dict[str, list]]
    old: dict[str, bytes]
    new: dict[str, bytes]
    names: list[str]


@pytest.fixture(scope="module")
def two(tiny, other, tmp_path_factory) -> TwoRanks:
    """Imports on two ranks that something happens to."""
    out = tmp_path_factory.mktemp("two")
    run_worker("killed_ranks_worker", other.hf, tiny.root, out, OMP_NUM_THREADS="1")
    ends = json.loads((out / "ends.json").read_text())
    *_, last = ends
    assert ends[last]["statuses"] == [0, 0]
    names = json.loads((out / "names.json").read_text())
    return TwoRanks(out, ends, _bytes_of_any_import(tiny.root), _bytes_of_any_import(out / last), names)


def test_kill_of_rank_0_ends_rank_1_and_leaves_old_or_new(two):
    killed = [name for name, end in two.ends.items() if end["statuses"][0] == -signal.SIGKILL]
    assert killed == [str(operation) for operation in chosen(two.names[::2])]
    # Every file and folder is synced; then the renames.
    assert len(two.names[::2]) > len(two.new)
    seen = []
    for name in killed:
        found = _bytes_of_any_import(two.out / name)
        assert found in (two.old, two.new)
        seen.append(found == two.new)
        # It learns of the death from the connection; where it waits for nothing more, it has succeeded.
        status, error = two.ends[name]["statuses"][1], two.ends[name]["errors"][1]
        assert (status, bool(error)) == (1, True) or (status == 0 and seen[-1])
    assert seen == sorted(seen) and seen[-1] and not seen[0]


def test_next_import_clears_up_after_a_kill_of_rank_0(two, tiny, tmp_path):
    killed = [name for name, end in two.ends.items() if end["statuses"][0] == -signal.SIGKILL]
    for name in dict.fromkeys([*killed[:: len(killed) // 3], killed[-1]]):
        root = Path(shutil.copytree(two.out / name, tmp_path / name))
        AutoBridge.import_ckpt(tiny.hf, root, release=True, overwrite=True)
        assert tree(root) == tree(tiny.root)


@pytest.mark.parametrize("moment", ["kill_before_saving", "kill_while_writing", "kill_before_publishing"])
def test_kill_of_rank_1_ends_rank_0_with_an_error(two, moment):
    assert two.ends[moment]["statuses"] == [1, -signal.SIGKILL]
    # The last it hears of the other may be before rank 0 has published, or after.
    assert _bytes_of_any_import(two.out / moment) in ({}, two.new)
    assert not list((two.out / moment).glob(".release-*"))


def test_failed_writer_is_the_error_of_every_rank(two):
    end = two.ends["write_small_files_only"]
    assert end["statuses"] == [1, 1]
    (error,) = set(end["errors"])
    file = rf"{re.escape(str(two.out))}/root/\.release-staging-\w{{8}}/release/__1_\d_[0-9a-f]{{8}}\.distcp"
    assert re.fullmatch(rf"OSError: \[Errno 27\] File too large: '{file}'", error)
    # The root was made for nothing.
    assert not (two.out / "write_small_files_only").exists()
