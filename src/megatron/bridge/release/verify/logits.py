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


"""Proves that a release computes what its Hugging Face model does: with the first layers, on the CPU, in float32.

Transformers computes from the Hugging Face files, and Megatron-LM from the release, with the model that its own parser
and builder make from the release's flags. Only one of the two models is in memory at a time.
"""

import logging
import warnings
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig
from transformers.utils import logging as transformers_logging

from megatron.bridge.release.checkpoint_dir import read_checkpoint_dir
from megatron.bridge.release.errors import (
    CorruptFileError,
    NotComputableError,
    command_line,
    is_out_of_memory,
    one_line,
)
from megatron.bridge.release.layout import COMMON_STATE, FLAGS_FILE, RELEASE, parse_tracker
from megatron.bridge.release.source.provenance import recorded_revision
from megatron.bridge.release.verify.args import NEEDED_ARGS
from megatron.bridge.release.verify.available_memory import available_memory
from megatron.bridge.release.verify.dcp_metadata import read_state
from megatron.bridge.release.verify.hf_model import HuggingFaceModel


POSITIONS = 256
MEMORY = 8 << 30

# How far the logits may differ, relative to the largest. The order of additions accounts for 9e-7 in two layers, and
# for 9e-6 in all thirty of SmolLM2, float32 against float64. A wrong epsilon or base makes a thousand times as much.
BOUND = 4e-5

# What Python and its imports take, in bytes.
_OWN_MEMORY = 1 << 30

# How many positions to compute beyond a window or an original length, where only a model that has it too agrees.
_BEYOND = 64

# Positions times parameters up to which a computation may grow to get there: about a minute on two cores.
_LONG = 2e12

# Positions up to which it may grow for a feature that shows at every position, only more so beyond.
_CHEAP = 1024


@dataclass(frozen=True)
class Proof:
    """What was computed, and how far the two models are apart.

    Attributes:
        hf_model: The Hugging Face model.
        layers: Number of layers that were computed: the first ones.
        of_layers: Number of layers that the model has.
        positions: Number of positions.
        difference: The largest difference of the logits, relative to the largest logit; infinite if one of them is
            not a number; None if nothing was computed.
        bound: How far they may differ.
        same_choice: Number of positions at which both models choose the same token.
        unproven: Why nothing was computed; None if something was.
        notes: What is worth knowing, such as what was not reached.
    """

    hf_model: str
    layers: int = 0
    of_layers: int = 0
    positions: int = 0
    difference: float | None = None
    bound: float = BOUND
    same_choice: int = 0
    unproven: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the release was seen to compute what the Hugging Face model does."""
        return self.difference is not None and self.difference <= self.bound

    def __str__(self) -> str:
        """Return the result in one line."""
        if self.unproven is not None:
            return f"Not proven to compute what {self.hf_model} does: {self.unproven}."
        layers = "all" if self.layers == self.of_layers else f"the first {self.layers} of"
        verdict = "computes what" if self.agrees else "computes another function than"
        return (
            f"Megatron-LM {verdict} {self.hf_model}{' does' if self.agrees else ''}: with {layers} {self.of_layers} "
            f"layers, the logits of {self.positions} positions differ by at most {self.difference:.1e}, relative to the "
            f"largest logit (bound: {self.bound:.0e}), and both choose the same token at {self.same_choice}"
        )


def prove(
    root: Path,
    hf_model: str | Path,
    *,
    revision: str | None = None,
    positions: int | None = None,
    memory: int | None = None,
) -> Proof:
    """Compute a few hundred logits with the first layers of a release and of its Hugging Face model.

    As many layers are computed as fit into memory: at least two, and one of each kind that the model has.

    Args:
        root: Checkpoint root, which `megatron.bridge.release.verify.check.check` has found to load.
        hf_model: Hugging Face model ID, or folder of a model.
        revision: Revision of a model ID; if None, the commit that the release records.
        positions: Number of positions; if None, `POSITIONS`, or more to reach beyond a window or the like.
        memory: How much memory the process may take, in bytes; if None, `MEMORY`, or most of what is available.

    Returns:
        The proof. If this host cannot compute the model, it says why.

    Raises:
        ValueError: If there is no release, if it is not this model's, or if Megatron-LM refuses its flags or
            tensors: one line.
        OSError: If the model cannot be read.
    """
    revision = revision or recorded_revision(root, hf_model)
    with _quiet():
        folder = _release(Path(root))
        return _prove(folder, str(hf_model), revision, positions, _memory() if memory is None else memory)


def _prove(folder: Path, name: str, revision: str | None, positions: int | None, memory: int) -> Proof:
    try:
        from megatron.bridge.release.verify.megatron_model import Refused
    except ImportError as error:
        return Proof(name, unproven=f"no Megatron-LM (megatron.training) of core 0.19 is installed here ({error})")

    flags = _read_flags(folder)
    layers = 0
    try:
        hf = HuggingFaceModel(name, revision)
        layers = hf.layers
        return _compute_both(folder, flags, hf, name, positions, memory)
    except Refused as error:
        raise ValueError(f"{error}. {_advise_rewriting(folder, FLAGS_FILE)}") from error
    except NotComputableError as error:
        return Proof(name, of_layers=layers, unproven=str(error))
    except (MemoryError, RuntimeError) as error:
        # Memory may run out anywhere.
        if not is_out_of_memory(error):
            raise
        return Proof(name, of_layers=layers, unproven=f"memory ran out ({one_line(error)})")


def _compute_both(
    folder: Path, flags: list[str], hf: HuggingFaceModel, name: str, positions: int | None, memory: int
) -> Proof:
    """Compute the logits of both models and compare them; see `prove`."""
    # megatron.training need not be installed.
    from megatron.bridge.release.verify import megatron_model as megatron

    with megatron.megatron_lm(flags) as args:
        _require_same_args(folder, args)
        _require_same_sizes(folder, args, hf, name)
        kinds = list(zip(hf.kinds(), megatron.per_layer(args)))
        plan = Plan(hf, kinds, _reaches(hf.config, args), positions, memory)
        if plan.unproven is not None:
            return Proof(name, of_layers=hf.layers, unproven=plan.unproven)
        tokens = _tokens(hf.config, plan.positions)
        dtype = next((dtype for flag, dtype in megatron.DTYPE_FLAGS.items() if flag in flags), torch.float32)
        expected, rounded = hf.compute(plan.layers, tokens, dtype)
        if rounded:
            plan.notes.append(
                f"The weights of {name} were rounded to {dtype} for it, as the import does.".replace("torch.", "")
            )
        found = megatron.compute(args, folder, plan.layers, tokens)[..., : expected.shape[-1]]
    return Proof(
        name,
        plan.layers,
        hf.layers,
        plan.positions,
        _difference(expected, found),
        same_choice=int((expected.argmax(-1) == found.argmax(-1)).sum()),
        notes=tuple(plan.notes),
    )


class Plan:
    """How many layers and positions are computed, so that they fit into memory, and what they do not reach.

    Args:
        hf: The Hugging Face model.
        kinds: The kind of each layer; at least one layer of each kind is computed.
        reaches: What `_reaches` returns.
        positions: Number of positions; None if it is to be chosen here.
        memory: How much memory the process may take, in bytes.

    Attributes:
        layers: Number of layers.
        positions: Number of positions.
        notes: What is not reached.
        unproven: Why nothing can be computed; None if something can.
    """

    def __init__(
        self,
        hf: HuggingFaceModel,
        kinds: list[Any],
        reaches: list[tuple[str, int, bool]],
        positions: int | None,
        memory: int,
    ) -> None:
        self.notes: list[str] = []
        self.unproven: str | None = None
        self._hf = hf
        first_of_kind = {kind: layer for layer, kind in reversed(list(enumerate(kinds)))}
        self.layers = min(max(2, max(first_of_kind.values()) + 1), hf.layers)
        self.positions = positions or POSITIONS
        needed = self._bytes(self.layers, self.positions)
        if needed > memory:
            sizes = f"need {needed / 2**30:.1f} GiB, and {memory / 2**30:.1f} GiB may be taken"
            self.unproven = f"its first {self.layers} layers {sizes}"
            return
        for what, reach, everywhere in sorted(reaches, key=lambda item: item[1]):
            if reach < self.positions:
                continue
            longer = reach + _BEYOND
            fits = longer * hf.parameters(self.layers) <= _LONG and self._bytes(self.layers, longer) <= memory
            if positions is None and fits and (longer <= _CHEAP or not everywhere):
                self.positions = longer
            elif not everywhere:
                self.notes.append(f"{what}, {reach}, was not reached: nothing is known of positions beyond it.")
        while (
            self.layers < hf.layers
            and self._bytes(self.layers + 1, self.positions) <= memory
            and (self.positions == POSITIONS or self.positions * hf.parameters(self.layers + 1) <= _LONG)
        ):
            self.layers += 1

    def _bytes(self, layers: int, positions: int) -> int:
        """Estimate how much memory the process takes at most, in bytes."""
        config = self._hf.config
        # The logits of both and their difference; attention scores, masked, and their softmax; the hidden states.
        values = 3 * positions * config.vocab_size + 4 * config.num_attention_heads * positions**2
        values += 16 * positions * config.hidden_size
        # While the largest tensor is read, its bfloat16 stands beside it twice.
        return int(_OWN_MEMORY + 4 * (self._hf.parameters(layers) + values))


def _release(root: Path) -> Path:
    """Return the folder of a root's release; raise ValueError if its tracker names none, or if it has no flags."""
    found = read_checkpoint_dir(root)
    tracker = "" if found.tracker is None else found.tracker
    if not tracker or not parse_tracker(tracker, str(root))[1] or not (root / RELEASE / FLAGS_FILE).is_file():
        raise ValueError(
            f"{root} contains no release. To convert an import to a release, run: {command_line('repair', root)}"
        )
    return root / RELEASE


def _read_flags(folder: Path) -> list[str]:
    try:
        return (folder / FLAGS_FILE).read_text(encoding="utf-8").split()
    except ValueError as error:
        raise ValueError(f"{folder / FLAGS_FILE} is no text. {_advise_rewriting(folder, FLAGS_FILE)}") from error


def _require_same_args(folder: Path, args: Namespace) -> None:
    """Require that the args which ``--use-checkpoint-args`` restores are those of the flags.

    Args:
        folder: Checkpoint folder.
        args: Megatron-LM's arguments, parsed from the flags.

    Raises:
        ValueError: If one of them differs, or if the common state cannot be read.
    """
    try:
        stored = vars(read_state(folder)["args"])
    except (CorruptFileError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / COMMON_STATE} cannot be read ({error})") from error
    for name in NEEDED_ARGS:
        # Neither the tokenizer nor the parallel sizes of the ranks that wrote it belong to the model.
        if name.startswith("tokenizer") or name.endswith("_parallel_size"):
            continue
        if stored.get(name) != getattr(args, name):
            raise ValueError(
                f"{folder}: args.{name} is {stored.get(name)!r} in {COMMON_STATE}, and {getattr(args, name)!r} by the "
                f"flags in {FLAGS_FILE}. {_advise_rewriting(folder, COMMON_STATE, FLAGS_FILE)}"
            )


def _require_same_sizes(folder: Path, args: Namespace, hf: HuggingFaceModel, name: str) -> None:
    """Require of the flags as many layers as the Hugging Face model has, and rows for its whole vocabulary.

    Raises:
        ValueError: If they say otherwise.
    """
    if args.num_layers != hf.layers:
        raise ValueError(f"{folder / FLAGS_FILE} declares {args.num_layers} layers; {name} has {hf.layers}")
    if args.padded_vocab_size < hf.config.vocab_size:
        raise ValueError(
            f"{folder / FLAGS_FILE} declares a vocabulary of {args.padded_vocab_size}; {name} has "
            f"{hf.config.vocab_size}"
        )


def _advise_rewriting(folder: Path, *names: str) -> str:
    """Return how to have undamaged files with wrong content written anew, which a repair alone does not do."""
    return f"Move {' and '.join(str(folder / name) for name in names)} away, then: {command_line('repair', folder.parent)}"


def _reaches(config: PretrainedConfig, args: Namespace) -> list[tuple[str, int, bool]]:
    """Return what shows at positions beyond some length.

    Args:
        config: Config of the Hugging Face model.
        args: Megatron-LM's arguments.

    Returns:
        For each such feature, its name, the length, and whether it shows at the positions before as well.
    """
    reaches = []
    # Megatron-LM counts the positions before a token; transformers counts the token too.
    windows = [args.window_size[0] + 1] if args.window_size else []
    if getattr(config, "use_sliding_window", True):
        windows.append(getattr(config, "sliding_window", None))
    if windows := [window for window in windows if isinstance(window, int) and window > 0]:
        reaches.append(("The sliding window", max(windows), False))
    told = getattr(config, "rope_parameters", None) or {}
    for rope in [told, *(value for value in told.values() if isinstance(value, dict))]:
        length = rope.get("original_max_position_embeddings") or getattr(config, "max_position_embeddings", None) or 0
        if rope.get("rope_type", "default") != "default":
            reaches.append(("Rope's original length", length, rope["rope_type"] not in ("dynamic", "longrope")))
    return reaches


def _tokens(config: PretrainedConfig, positions: int) -> torch.Tensor:
    """Draw tokens, [1, positions], the same in each call, with the first, the last and the special ones among them."""
    tokens = torch.randint(config.vocab_size, (1, positions), generator=torch.Generator().manual_seed(1))
    special = [getattr(config, f"{name}_token_id", None) for name in ("bos", "eos", "pad")]
    flat = [token for ids in special for token in (ids if isinstance(ids, list) else [ids])]
    chosen = [0, *(token for token in flat if isinstance(token, int)), config.vocab_size - 1]
    for at, token in enumerate(dict.fromkeys(token for token in chosen if 0 <= token < config.vocab_size)):
        # Spread out: at the beginning, attention has nothing to choose from.
        tokens[0, min(at * (positions // 8), positions - 1)] = token
    return tokens


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return how far logits differ at most, relative to the largest; infinity if any of them is not a number."""
    largest = float(expected.abs().max())
    # In place: it takes the memory of one more tensor, not of several.
    difference = float(torch.sub(expected, found).abs_().max()) / (largest or 1.0)
    return difference if difference == difference else float("inf")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings and the progress bars of both libraries, which are about other things."""
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


def _memory() -> int:
    """Return how much memory this process may take, in bytes: at most three quarters of what is available."""
    available = available_memory()
    return MEMORY if available is None else min(MEMORY, available * 3 // 4)
