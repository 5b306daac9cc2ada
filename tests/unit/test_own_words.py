# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""What stands here is written here: no run of four lines of it stands in the pinned wheels."""

import ast
import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from patches.upstream import open_upstream


ROOT = Path(__file__).resolve().parents[2]
# Which names a module imports, and a model's published numbers, are facts.
_FACTS = re.compile(r'"[a-z_]+": [0-9.]+,?')


def _runs(path: Path) -> Iterator[tuple[str, ...]]:
    """Read the runs of four lines of a file, but for blank lines, comments, imports and brackets alone."""
    text = path.read_text()
    imports = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    lines = [line.strip() for number, line in enumerate(text.splitlines(), start=1) if number not in imports]
    lines = [line for line in lines if re.search(r"\w", line) and line[0] != "#" and not _FACTS.fullmatch(line)]
    for run in zip(lines, lines[1:], lines[2:], lines[3:]):
        # Four short lines, such as `else:` and `return None`, are nobody's.
        if len("".join(run)) >= 80:
            yield run


def test_code_shares_no_four_lines_with_upstream_wheels(upstream_wheel, tmp_path):
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / line for line in tracked.splitlines()]
    own = {run: file for file in files if file.is_file() and not file.is_symlink() for run in _runs(file)}
    core = Path(importlib.util.find_spec("megatron.core").submodule_search_locations[0])
    wheels = [open_upstream(upstream_wheel, tmp_path, pinned=True).root / "megatron", core, core.with_name("training")]
    found = {
        (own[run].relative_to(ROOT).as_posix(), path.name, run)
        for wheel in wheels
        for path in wheel.rglob("*.py")
        for run in _runs(path)
        if run in own
    }
    assert len(own) > 5000 and not found, json.dumps(sorted(found), indent=1)
