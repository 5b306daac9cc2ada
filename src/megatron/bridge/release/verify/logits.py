# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0


"""Logit check: compares the logits of a release in Megatron-LM with its Hugging Face model's, on the CPU in float32.

Transformers computes from the Hugging Face files, and Megatron-LM from the release, with the model that its own parser
and builder make from the release's flags. Only one of the two models is in memory at a time.
"""

import logging
import math
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PretrainedConfig
from transformers.utils import logging as transformers_logging

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.errors import CorruptFileError, NotComputableError, is_out_of_memory, one_line
from megatron.bridge.release.host.child_process import run_in_child
from megatron.bridge.release.layout import COMMON_STATE, FLAGS_FILE, RELEASE, parse_tracker
from megatron.bridge.release.source.provenance import recorded_revision
from megatron.bridge.release.validation.families import unsupported_family
from megatron.bridge.release.verify.args import NEEDED_ARGS
from megatron.bridge.release.verify.available_memory import available_memory
from megatron.bridge.release.verify.comparison_findings import (
    LINEAR_ATTENTION_TOLERANCE,
    TOLERANCE,
    CastWeights,
    LogitComparison,
    UntestedPositions,
)
from megatron.bridge.release.verify.dcp_metadata import read_state
from megatron.bridge.release.verify.errors import (
    ContradictingArgsError,
    NoReleaseError,
    RejectedReleaseError,
    SizeMismatchError,
)
from megatron.bridge.release.verify.findings import Finding
from megatron.bridge.release.verify.hf_model import HuggingFaceModel


POSITIONS = 256
MEMORY = 8 << 30

# Memory of Python and its imports, in bytes.
_IMPORTS = 1 << 30

# Number of positions beyond the length of a feature.
_MARGIN = 64

# Positions times parameters up to which the positions are extended to test a feature: about a minute on two cores.
_MOST_WORK = 2e12

# Positions up to which they are extended for a feature that already changes the positions before its length.
_MOST_POSITIONS = 1024


class LengthFeature(NamedTuple):
    """A feature of a model that changes the positions beyond a length, and perhaps those before it."""

    name: str
    length: int
    changes_earlier_positions: bool


class LogitCheckPlan(NamedTuple):
    """Number of layers and positions to compute, and the features that they do not test."""

    layers: int
    positions: int
    untested: list[Finding]


def compare_logits(
    root: Path,
    hf_model: str | Path,
    *,
    revision: str | None = None,
    positions: int | None = None,
    memory: int | None = None,
) -> LogitComparison:
    """Compare a few hundred logits of a release and its Hugging Face model, computed with the first layers.

    As many layers are computed as fit into memory: at least two, and at least one per layer type.

    Args:
        root: Checkpoint directory in which `megatron.bridge.release.verify.check.check` has found no problems.
        hf_model: Hugging Face model ID, or directory of a model.
        revision: Revision of a model ID; if None, the commit that the release records.
        positions: Number of positions; if None, `POSITIONS`, or more to test a sliding window or the like.
        memory: Most memory of the process, in bytes; if None, `MEMORY`, or most of what is available.

    Returns:
        The result. If this host cannot compute the model, it contains why.

    Raises:
        ReleaseError: If there is no release of this model, or if Megatron-LM rejects its flags or tensors.
        OSError: If the model cannot be read.
    """
    # Imported here because it loads Megatron Core.
    from megatron.bridge.utils.te_requirements import has_stand_in

    if not has_stand_in():
        return run_in_child(compare_logits, root, hf_model, revision=revision, positions=positions, memory=memory)
    revision = revision or recorded_revision(root, hf_model)
    with _quiet():
        release = _find_release(Path(root))
        return _compare(release, str(hf_model), revision, positions, _most_memory() if memory is None else memory)


def _compare(release: Path, name: str, revision: str | None, positions: int | None, memory: int) -> LogitComparison:
    try:
        from megatron.bridge.release.verify.megatron_model import RejectedError
    except ImportError as error:
        reason = f"Megatron-LM (megatron.training) of core 0.19 is not installed ({error})"
        return LogitComparison(name, skipped=reason)
    layers = 0
    try:
        flags = (release / FLAGS_FILE).read_text(encoding="utf-8").split()
        hf = HuggingFaceModel(name, revision)
        layers = hf.layers
        if reason := unsupported_family(hf.config.model_type):
            raise NotComputableError(reason)
        return _compute_both(release, flags, hf, name, positions, memory)
    except UnicodeDecodeError as error:
        raise RejectedReleaseError(release, f"{release / FLAGS_FILE} is not a text file") from error
    except RejectedError as error:
        raise RejectedReleaseError(release, str(error)) from error
    except NotComputableError as error:
        return LogitComparison(name, total_layers=layers, skipped=str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return LogitComparison(name, total_layers=layers, skipped=f"out of memory ({one_line(error)})")


def _compute_both(
    release: Path, flags: list[str], hf: HuggingFaceModel, name: str, positions: int | None, memory: int
) -> LogitComparison:
    # megatron.training need not be installed.
    from megatron.bridge.release.verify import megatron_model as megatron

    with megatron.megatron_lm(flags) as args:
        _require_same_args(release, args)
        _require_same_sizes(release, args, hf, name)
        kinds = list(zip(hf.kinds(), megatron.per_layer(args)))
        plan = plan_logit_check(hf, kinds, _length_features(hf.config, args), positions, memory)
        tokens = _tokens(hf.config, plan.positions)
        dtype = next((dtype for flag, dtype in megatron.DTYPE_FLAGS.items() if flag in flags), torch.float32)
        expected, is_cast = hf.compute(plan.layers, tokens, dtype)
        found = megatron.compute(args, release, plan.layers, tokens)[..., : expected.shape[-1]]
    cast = [CastWeights(name, str(dtype).removeprefix("torch."))] if is_cast else []
    return LogitComparison(
        name,
        plan.layers,
        hf.layers,
        plan.positions,
        _difference(expected, found),
        LINEAR_ATTENTION_TOLERANCE if args.experimental_attention_variant else TOLERANCE,
        top1_matches=int((expected.argmax(-1) == found.argmax(-1)).sum()),
        notes=(*plan.untested, *cast),
    )


def plan_logit_check(
    hf: HuggingFaceModel, kinds: list[Any], features: list[LengthFeature], positions: int | None, memory: int
) -> LogitCheckPlan:
    """Plan as many layers and positions as fit into memory.

    Args:
        kinds: The type of each layer; at least one layer of each type is computed.
        positions: Number of positions; None to choose it by the features.
        memory: Most memory of the process, in bytes.

    Raises:
        NotComputableError: If there is too little memory.
    """
    first_of_kind = {kind: layer for layer, kind in reversed(list(enumerate(kinds)))}
    layers = min(max(2, max(first_of_kind.values()) + 1), hf.layers)
    chosen = positions or POSITIONS
    needed = _estimate_memory(hf, layers, chosen)
    if needed > memory:
        # Rounded, both may have the same number of GiB.
        raise NotComputableError(
            f"its first {layers} layers need {math.ceil(needed / 2**20):,} MiB of memory, "
            f"{max(memory, 0) // 2**20:,} MiB are available"
        )
    untested: list[Finding] = []
    for feature in sorted(features, key=lambda feature: feature.length):
        if feature.length < chosen:
            continue
        longer = feature.length + _MARGIN
        fits = longer * hf.parameters(layers) <= _MOST_WORK and _estimate_memory(hf, layers, longer) <= memory
        if positions is None and fits and (longer <= _MOST_POSITIONS or not feature.changes_earlier_positions):
            chosen = longer
        elif not feature.changes_earlier_positions:
            untested.append(UntestedPositions(feature.name, feature.length))
    while (
        layers < hf.layers
        and _estimate_memory(hf, layers + 1, chosen) <= memory
        and (chosen == POSITIONS or chosen * hf.parameters(layers + 1) <= _MOST_WORK)
    ):
        layers += 1
    return LogitCheckPlan(layers, chosen, untested)


def _estimate_memory(hf: HuggingFaceModel, layers: int, positions: int) -> int:
    """Estimate the most memory of the process, in bytes."""
    config = hf.config
    # The logits of both and their difference; attention scores, masked, and their softmax; the hidden states.
    values = 3 * positions * config.vocab_size + 4 * config.num_attention_heads * positions**2
    values += 16 * positions * config.hidden_size
    # While the largest tensor is read, two bfloat16 copies of it exist as well.
    return int(_IMPORTS + 4 * (hf.parameters(layers) + values))


def _find_release(root: Path) -> Path:
    """Return the release that the tracker of a checkpoint directory names."""
    tracker = read_checkpoint_dir(root).tracker
    if not tracker or not parse_tracker(tracker, str(root))[1] or not (root / RELEASE / FLAGS_FILE).is_file():
        raise NoReleaseError(root)
    return root / RELEASE


def _require_same_args(release: Path, args: Namespace) -> None:
    """Require that the args which ``--use-checkpoint-args`` restores are those of the flags."""
    try:
        stored = vars(read_state(release)["args"])
    except (CorruptFileError, KeyError, TypeError) as error:
        reason = error.reason if isinstance(error, CorruptFileError) else one_line(error)
        raise CorruptFileError(release / COMMON_STATE, reason) from error
    for name in NEEDED_ARGS:
        # Neither the tokenizer nor the parallel sizes of the ranks that wrote it belong to the model.
        if name.startswith("tokenizer") or name.endswith("_parallel_size"):
            continue
        if stored.get(name) != getattr(args, name):
            raise ContradictingArgsError(release, name, stored.get(name), getattr(args, name))


def _require_same_sizes(release: Path, args: Namespace, hf: HuggingFaceModel, name: str) -> None:
    """Require that the flags imply the model's number of layers, and rows for its whole vocabulary."""
    if args.num_layers != hf.layers:
        raise SizeMismatchError(release / FLAGS_FILE, "layers", args.num_layers, name, hf.layers)
    if args.padded_vocab_size < hf.config.vocab_size:
        raise SizeMismatchError(release / FLAGS_FILE, "vocabulary", args.padded_vocab_size, name, hf.config.vocab_size)


def _length_features(config: PretrainedConfig, args: Namespace) -> list[LengthFeature]:
    features = []
    # Megatron-LM counts the positions before a token; transformers counts the token too.
    windows = [args.window_size[0] + 1] if args.window_size else []
    if getattr(config, "use_sliding_window", True):
        windows.append(getattr(config, "sliding_window", None))
    if windows := [window for window in windows if isinstance(window, int) and window > 0]:
        features.append(LengthFeature("sliding window", max(windows), False))
    parameters = getattr(config, "rope_parameters", None) or {}
    for rope in [parameters, *(value for value in parameters.values() if isinstance(value, dict))]:
        length = rope.get("original_max_position_embeddings") or getattr(config, "max_position_embeddings", None) or 0
        kind = rope.get("rope_type", "default")
        if kind != "default":
            features.append(LengthFeature("original context length", length, kind not in ("dynamic", "longrope")))
    return features


def _tokens(config: PretrainedConfig, positions: int) -> torch.Tensor:
    """Draw tokens, [1, positions], with a fixed seed; the first, the last and the special tokens are among them."""
    tokens = torch.randint(config.vocab_size, (1, positions), generator=torch.Generator().manual_seed(1))
    special = [getattr(config, f"{name}_token_id", None) for name in ("bos", "eos", "pad")]
    flat = [token for ids in special for token in (ids if isinstance(ids, list) else [ids])]
    chosen = [0, *(token for token in flat if isinstance(token, int)), config.vocab_size - 1]
    for at, token in enumerate(dict.fromkeys(token for token in chosen if 0 <= token < config.vocab_size)):
        # Spread over the positions: the first ones have little to attend to.
        tokens[0, min(at * (positions // 8), positions - 1)] = token
    return tokens


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the largest difference of logits, relative to the largest logit; infinity if any is NaN."""
    largest = float(expected.abs().max())
    # In place, to allocate only one more tensor.
    difference = float(torch.sub(expected, found).abs_().max()) / (largest or 1.0)
    return difference if difference == difference else float("inf")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings and the progress bars of both libraries."""
    disabled, bars = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]


def _most_memory() -> int:
    """Return `MEMORY`, or three quarters of the available memory if that is less, in bytes."""
    available = available_memory()
    return MEMORY if available is None else min(MEMORY, available * 3 // 4)
