# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""``check``: reports whether a checkpoint loads."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from megatron.bridge.release.cli.output import print_report, text_of
from megatron.bridge.release.cli.quiet import capture_library_output, show_progress
from megatron.bridge.release.layout import COMMON_STATE, RELEASE
from megatron.bridge.release.source.model_dir import inspect_model
from megatron.bridge.release.source.provenance import recorded_revision, require_same_config, require_source
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.comparison_findings import (
    EqualTensors,
    LogitComparison,
    SameSourceModel,
    SkippedComparison,
)
from megatron.bridge.release.verify.errors import RevisionWithoutModelError
from megatron.bridge.release.verify.findings import FailedStep
from megatron.bridge.release.verify.report import Report


def run_check(options: argparse.Namespace) -> int:
    """Check a checkpoint directory, print the report, and return the exit status."""
    if options.revision is not None and not any((options.made_of, options.deep, options.compute)):
        raise RevisionWithoutModelError()
    report = check(options.path)
    if options.made_of is not None:
        _check_source(report, options.made_of, options.revision)
    comparison = None
    if options.deep is not None or options.compute is not None:
        with capture_library_output(verbose=options.verbose) as (_, err), show_progress(err):
            if options.deep is not None:
                _compare_tensors(report, options.deep, options.revision)
            if options.compute is not None:
                comparison = run_logit_check(report, options.compute, options.revision)
    is_skipped = comparison is not None and comparison.skipped is not None
    if options.json:
        print(json.dumps(json_values(report, comparison), indent=2))
    else:
        print_report(report, sys.stdout)
        if comparison is not None and is_skipped:
            print(text_of(comparison))
    if not report.passed:
        return 1
    return 3 if is_skipped else 0


def run_logit_check(report: Report, hf_model: str, revision: str | None = None) -> LogitComparison | None:
    """Compare the logits of a release and its Hugging Face model, and add the result to the report.

    Args:
        report: Report of the release.
        hf_model: Hugging Face model ID, or directory of a model.
        revision: Revision of a model ID; None for the commit that the release records.

    Returns:
        The result; None if the report has problems or the check fails.
    """
    if report.problems or not _is_readable(report):
        report.notes.append(SkippedComparison("compute", hf_model))
        return None
    with _reporting(report, f"The logit check with {hf_model} failed"):
        # These import torch and transformers, which takes many seconds.
        from megatron.bridge.release.host.stand_in import activate_stand_ins

        activate_stand_ins()
        from megatron.bridge.release.verify.logits import compare_logits

        comparison = compare_logits(report.root, hf_model, revision=revision)
        if comparison.skipped is None:
            (report.notes if comparison.matches else report.problems).append(comparison)
            report.notes += comparison.notes
        return comparison
    return None


def _check_source(report: Report, hf_model: str, revision: str | None) -> None:
    if report.problems and not (report.root / RELEASE).is_dir():
        report.notes.append(SkippedComparison("made_of", hf_model))
        return
    try:
        model = hf_model if revision is None else inspect_model(hf_model, {"revision": revision})[0]
        require_source(report.root, model)
    except (ValueError, OSError) as error:
        report.problems.append(FailedStep(None, error))
    else:
        report.notes.append(SameSourceModel(hf_model))


def _compare_tensors(report: Report, hf_model: str, revision: str | None) -> None:
    if not _is_readable(report):
        report.notes.append(SkippedComparison("deep", hf_model))
        return
    with _reporting(report, f"The comparison with {hf_model} failed"):
        root = report.root
        _, config, _ = inspect_model(hf_model, {"revision": revision or recorded_revision(root, hf_model)})
        require_same_config(root, hf_model, config)
        # It imports torch and all of Bridge, which takes many seconds.
        from megatron.bridge.release.host.stand_in import activate_stand_ins

        activate_stand_ins()
        from megatron.bridge.release.verify.weights import compare

        equal, problems = compare(report.path, hf_model, revision)
        report.problems += problems
        report.notes.append(EqualTensors(equal, hf_model))


def _is_readable(report: Report) -> bool:
    """Return whether Megatron Core can read the tensors, and the common state, which it reads before them."""
    is_damaged = COMMON_STATE in report.files and report.files[COMMON_STATE].status != "ok"
    return report.folder is not None and not report.unrepairable and not is_damaged


@contextmanager
def _reporting(report: Report, step: str) -> Iterator[None]:
    """Add an exception to the report: Bridge and transformers raise many kinds for a wrong model."""
    try:
        yield
    except Exception as error:
        report.problems.append(FailedStep(step, error))


def json_values(report: Report, comparison: LogitComparison | None) -> dict[str, Any]:
    """Return a report and the result of a logit check as values for JSON."""
    values: dict[str, Any] = {
        "root": str(report.root),
        "layout": report.layout,
        "tracker": report.tracker,
        "folder": report.folder,
        "files": [asdict(report.files[name]) for name in sorted(report.files)],
        "source_model": report.source_model,
        "args": report.args,
        "readers": [
            {"name": reader.name, "loads": reader.reason is None, "why": text_of(reader.reason)}
            for reader in report.readers
        ],
        "launch": report.launch,
        "problems": list(map(text_of, report.problems)),
        "unrepairable": list(map(text_of, report.unrepairable)),
        "notes": list(map(text_of, report.notes)),
        "loadable": report.passed,
    }
    if comparison is not None:
        values["logit_check"] = asdict(comparison) | {
            # JSON has no infinity.
            "difference": None if comparison.difference == float("inf") else comparison.difference,
            "matches": comparison.matches,
            "notes": list(map(text_of, comparison.notes)),
        }
    return values
