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

"""``check``: reports whether a checkpoint loads."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megatron.bridge.release.cli.quiet import capture_library_output, progress
from megatron.bridge.release.cli.printing import print_report
from megatron.bridge.release.errors import one_line
from megatron.bridge.release.layout import COMMON_STATE, RELEASE
from megatron.bridge.release.source.provenance import recorded_revision, require_same_config, require_source
from megatron.bridge.release.source.model_dir import inspect_model
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.report import Report


if TYPE_CHECKING:
    from megatron.bridge.release.verify.logits import Proof


def run_check(options: argparse.Namespace) -> int:
    """Check a root, print what was found, and return the exit status."""
    models = (options.made_of, options.deep, options.compute)
    if options.revision is not None and not any(models):
        raise ValueError("--revision is the revision of a model. Add --made-of, --deep or --compute.")
    report = check(options.path)
    if options.made_of is not None:
        _check_source(report, options.path, options.made_of, options.revision)
    proof = None
    if options.deep is not None or options.compute is not None:
        with capture_library_output(verbose=options.verbose) as (_, err), progress(err):
            if options.deep is not None:
                compare = partial(_compare, revision=options.revision)
                _use_model(report, options.deep, compare, "Not compared with", possible=_is_readable(report))
            if options.compute is not None:
                proof = compute(report, options.compute, options.revision)
    unproven = proof is not None and proof.unproven is not None
    if options.json:
        print(json.dumps(json_values(report, proof), indent=2))
    else:
        print_report(report, sys.stdout)
        if unproven:
            print(proof)
    if not report.passed:
        return 1
    return 3 if unproven else 0


def compute(report: Report, hf_model: str, revision: str | None = None) -> "Proof | None":
    """Prove that a release computes what its Hugging Face model does, and report what was found.

    Args:
        report: The report of the release, to which the result is added.
        hf_model: Hugging Face model ID, or folder of a model.
        revision: Revision of a model ID; None for the commit that the release records.

    Returns:
        The proof; None where there are problems, and nothing was computed.
    """
    possible = _is_readable(report) and not report.problems
    return _use_model(report, hf_model, partial(_prove, revision=revision), "Not computed with", possible=possible)


def _check_source(report: Report, root: Path, hf_model: str, revision: str | None) -> None:
    if report.problems and not (root / RELEASE).is_dir():
        report.notes.append(f"Source model not compared with {hf_model}: fix the problems first.")
        return
    try:
        require_source(root, hf_model if revision is None else inspect_model(hf_model, {"revision": revision})[0])
    except (ValueError, OSError) as error:
        report.problems.append(str(error))
    else:
        report.notes.append(f"{hf_model} matches the recorded source model.")


def _is_readable(report: Report) -> bool:
    """Return whether the tensors can be read, and the common state, which Megatron Core reads before them."""
    damaged = any(file.name == COMMON_STATE and file.problem is not None for file in report.files)
    return report.folder is not None and not report.beyond_repair and not damaged


def _use_model(
    report: Report, hf_model: str, work: Callable[[Report, str], "Proof | None"], undone: str, *, possible: bool
) -> "Proof | None":
    """Do work that needs the Hugging Face model, and report why it was not done.

    Args:
        report: The report, to which the work adds what it finds.
        hf_model: Hugging Face model ID, or folder of a model.
        work: The work.
        undone: What to say of work that was not done, before the model's name.
        possible: Whether the checkpoint is fit for the work.

    Returns:
        What the work returns; None if it was not done.
    """
    if not possible:
        report.notes.append(f"{undone} {hf_model}: fix the problems first.")
        return None
    try:
        return work(report, hf_model)
    except Exception as error:
        # Bridge and transformers read the model; what they raise for a wrong one is up to them.
        message = " ".join(str(error).split())
        if not message or not isinstance(error, (ValueError, OSError)):
            message = one_line(error)
        report.problems.append(f"{undone} {hf_model}: {message}")
        return None


def _compare(report: Report, hf_model: str, revision: str | None) -> None:
    root = Path(report.root)
    _, config, _ = inspect_model(hf_model, {"revision": revision or recorded_revision(root, hf_model)})
    require_same_config(root, hf_model, config)
    # It imports torch and all of Bridge, which takes many seconds.
    from megatron.bridge.release.verify.weights import compare

    assert report.folder is not None
    equal, problems = compare(root / report.folder, hf_model, revision)
    report.problems += problems
    report.notes.append(
        f"{equal} tensors are equal to those of {hf_model}, bit by bit, cast to the dtype of the checkpoint."
    )


def _prove(report: Report, hf_model: str, revision: str | None) -> "Proof":
    from megatron.bridge.release.verify.logits import prove

    proof = prove(Path(report.root), hf_model, revision=revision)
    if proof.unproven is None:
        (report.notes if proof.agrees else report.problems).append(f"{proof}.")
        report.notes += proof.notes
    return proof


def json_values(report: Report, proof: "Proof | None") -> dict[str, Any]:
    """Return a report and a proof as JSON has them."""
    values = asdict(report) | {"loadable": report.passed}
    if proof is not None:
        # JSON has no infinity.
        difference = proof.difference if proof.difference != float("inf") else None
        values["proof"] = asdict(proof) | {"difference": difference, "agrees": proof.agrees}
    return values
