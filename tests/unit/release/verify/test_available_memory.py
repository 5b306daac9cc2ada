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

"""The memory budget is that of the host and of every control group above the process."""

from pathlib import Path

import pytest

from megatron.bridge.release.verify.available_memory import available_memory


GIB = 1 << 30
NO_LIMIT = "9223372036854771712"


def _tree(folder: Path, cgroup: str, files: dict[str, str], available: int | None = 1000 * GIB) -> tuple[Path, Path]:
    """Write what the kernel shows: /proc/self/cgroup, /proc/meminfo, and files of /sys/fs/cgroup."""
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(cgroup)
    if available is not None:
        (proc / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {available // 1024} kB\n")
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(f"{text}\n")
    return proc, groups


def _stat(prefix: str = "", active: int = 0, inactive: int = 0) -> str:
    return f"anon 5\nactive_file 7\ninactive_file 8\n{prefix}active_file {active}\n{prefix}inactive_file {inactive}"


CASES = {
    "no control group": ("", {}, 1000 * GIB),
    "version 2, no limit": ("0::/a\n", {"a/memory.max": "max", "a/memory.current": "5"}, 1000 * GIB),
    "version 2, a container": ("0::/\n", {"memory.max": str(8 * GIB), "memory.current": str(GIB)}, 7 * GIB),
    "version 2, a limit above": (
        "0::/job/step/task\n",
        {
            "job/memory.max": str(8 * GIB),
            "job/memory.current": str(3 * GIB),
            "job/step/memory.max": "max",
            "job/step/memory.current": "7",
            "job/step/task/memory.max": str(16 * GIB),
            "job/step/task/memory.current": "7",
        },
        5 * GIB,
    ),
    "version 2, memory.high": (
        "0::/a\n",
        {"a/memory.max": str(8 * GIB), "a/memory.high": str(4 * GIB), "a/memory.current": str(GIB)},
        3 * GIB,
    ),
    "version 2, the page cache": (
        "0::/a\n",
        {
            "a/memory.max": str(8 * GIB),
            "a/memory.current": str(8 * GIB),
            "a/memory.stat": f"anon 5\nactive_file {GIB}\ninactive_file {2 * GIB}",
        },
        3 * GIB,
    ),
    "version 2, another mount than the host's": (
        "0::/../../docker/abc\n",
        {"memory.max": str(2 * GIB), "memory.current": "0"},
        2 * GIB,
    ),
    "version 1": (
        "5:cpu,cpuacct:/x\n4:memory:/slurm/job\n1:name=systemd:/x\n",
        {
            "memory/memory.limit_in_bytes": NO_LIMIT,
            "memory/memory.usage_in_bytes": str(100 * GIB),
            "memory/slurm/job/memory.limit_in_bytes": str(8 * GIB),
            "memory/slurm/job/memory.usage_in_bytes": str(4 * GIB),
            "memory/slurm/job/memory.stat": _stat("total_", GIB, GIB),
        },
        6 * GIB,
    ),
    "version 1, a container": (
        "4:memory:/docker/abc\n",
        {"memory/memory.limit_in_bytes": str(6 * GIB), "memory/memory.usage_in_bytes": str(2 * GIB)},
        4 * GIB,
    ),
    "both versions": (
        "4:memory:/a\n0::/b\n",
        {
            "memory/a/memory.limit_in_bytes": str(3 * GIB),
            "memory/a/memory.usage_in_bytes": "0",
            "b/memory.max": "max",
        },
        3 * GIB,
    ),
    "more is used than the limit": ("0::/a\n", {"a/memory.max": "10", "a/memory.current": "11"}, 0),
    "what is no number": ("0::/a\n", {"a/memory.max": "?", "a/memory.current": "", "a/memory.stat": ""}, 1000 * GIB),
}


@pytest.mark.parametrize(("cgroup", "files", "expected"), CASES.values(), ids=CASES)
def test_smallest_limit_counts(tmp_path, cgroup, files, expected):
    assert available_memory(*_tree(tmp_path, cgroup, files)) == expected


def test_host_memory_below_the_limit_counts(tmp_path):
    files = {"memory.max": str(8 * GIB), "memory.current": "0"}
    assert available_memory(*_tree(tmp_path, "0::/\n", files, available=GIB)) == GIB


def test_memory_is_unknown_without_kernel_files(tmp_path):
    assert available_memory(tmp_path / "proc", tmp_path / "cgroup") is None
    assert available_memory(*_tree(tmp_path, "", {}, available=None)) is None


def test_this_host_is_read():
    assert 0 < available_memory() < 1 << 50
