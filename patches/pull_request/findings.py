# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The findings of upstream's linter and of mypy in a change, and the import of upstream's wheel."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from patches.upstream import UpstreamError


_RUFF = re.compile(r"""ruff-pre-commit\s+rev:\s*["']?v([0-9.]+)""")


def ruff_findings(tree: Path, files: Sequence[str]) -> list[str]:
    """Return the findings in files of upstream's version of ruff, with upstream's settings."""
    match = _RUFF.search((tree / ".pre-commit-config.yaml").read_text())
    if match is None:
        raise UpstreamError(f"{tree}/.pre-commit-config.yaml names no version of ruff")
    folder = tree.with_name(f"ruff-{match[1]}")
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), f"ruff=={match[1]}"]
        subprocess.run(command, check=True, capture_output=True)
    findings = []
    for words in (["check", "--output-format", "concise"], ["format", "--check"]):
        done = subprocess.run(
            [folder / "bin/ruff", *words, "--no-cache", *files], cwd=tree, capture_output=True, text=True
        )
        if done.returncode:
            findings += [line for line in done.stdout.splitlines() if ".py" in line]
    return findings


def mypy_findings(tree: Path, root: Path, modules: Sequence[str]) -> list[str]:
    """Return the findings of `mypy --strict` in new modules."""
    if not modules:
        return []
    options = ["--strict", "--follow-imports=silent", "--ignore-missing-imports", "--explicit-package-bases"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            *options,
            "--no-error-summary",
            f"--cache-dir={tree.with_name('mypy')}",
            *modules,
        ],
        cwd=tree,
        env=os.environ | {"MYPYPATH": str(root)},
        capture_output=True,
        text=True,
    )
    return [line for line in done.stdout.splitlines() if ": error:" in line and line.partition(":")[0] in modules]


def imports_from_wheel(tree: Path, folder: Path) -> str:
    """Build upstream's wheel with its own packaging and import it. Return the problem in a few words, or ""."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        return "no: the build failed"
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(folder / "site")
    tops = sorted(path.name for path in (folder / "site/megatron").iterdir() if (path / "__init__.py").is_file())
    code = "".join(f"import megatron.{top} as m; print(m.__file__)\n" for top in tops)
    variables = os.environ | {"PYTHONPATH": str(folder / "site"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", code], cwd=folder, env=variables, capture_output=True, text=True
    )
    places = [line for line in done.stdout.splitlines() if line.startswith(str(folder))]
    if done.returncode or len(places) != len(tops) or "bridge" not in tops:
        return f"no: {(done.stderr.strip().splitlines() or ['imported from another place'])[-1]}"
    return ""
