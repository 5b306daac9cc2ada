# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Available memory of a process: the host's, limited by control groups.

Reads the files of proc(5) and cgroups(7), version 1 and 2. ``/proc/meminfo`` does not show the limits of a container or a
Slurm job.
"""

from collections.abc import Iterator
from pathlib import Path


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the available memory of this process in bytes; None if it is unknown. The arguments are mount points."""
    found = [room for folder in _groups(proc, cgroups) if (room := _room(folder)) is not None]
    available = _value(proc / "meminfo", "MemAvailable:")
    return min([*found, *([] if available is None else [available * 1024])], default=None)


def _groups(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Yield the directories of this process's control groups and their parents."""
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = cgroups / controllers if controllers else cgroups
        # In a container, its group may be mounted as the root.
        yield from (mount, *(mount / parent for parent in Path(path.lstrip("/")).parents), mount / path.lstrip("/"))


def _room(folder: Path) -> int | None:
    """Return the available memory of a control group in bytes; None if it has no limit."""
    limits = [_value(folder / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    known = [limit for limit in limits if limit is not None]
    usage = _value(folder / "memory.current")
    if usage is None:
        usage = _value(folder / "memory.usage_in_bytes")
    if not known or usage is None:
        return None
    # The page cache counts as used, but is reclaimed before memory runs out.
    names = [f"{total}{kind}_file" for total in ("", "total_") for kind in ("active", "inactive")]
    parts = [_value(folder / "memory.stat", name) for name in names]
    # Version 1 has values without the children and, as total_*, with them.
    cache = sum(part or 0 for part in (parts[2:] if parts[2] is not None else parts[:2]))
    return max(0, min(known) - usage + cache)


def _value(file: Path, name: str = "") -> int | None:
    """Return the number after a name in a file, or the only number."""
    for line in _lines(file):
        words = line.split()
        if words and (not name or words[0] == name):
            word = words[1] if name else words[0]
            return int(word) if word.isdigit() else None
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
