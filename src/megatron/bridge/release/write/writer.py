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

"""Writes the files of a release: torch_dist, entry by entry, from several threads.

Megatron Core plans, and torch writes the metadata, so the keys, the common state and ``.metadata`` are theirs. An entry
is what ``torch.save`` writes. Its bytes come from memory or from the files that a model is imported from, are hashed on
their way, and are written once; nothing is read a second time.
"""

import ctypes
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.process_groups_config import ProcessGroupCollection
from torch.distributed import checkpoint
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future
from tqdm import tqdm

from megatron.bridge.release.compat.megatron_core_api import (
    FullyParallelSaveStrategyWrapper,
    MCoreSavePlanner,
    MultiStorageClientFeature,
    TorchDistSaveShardedStrategy,
    mcore_to_pyt_state_dict,
    nested_values,
    replace_state_dict_keys_with_sharded_keys,
)
from megatron.bridge.release.compat.torch_api import CheckpointException, FileSystemWriter, checkpoint_causes
from megatron.bridge.release.manifest import write_manifest
from megatron.bridge.release.source.provenance import describe_model
from megatron.bridge.release.write.entry_file import EntryFile
from megatron.bridge.release.write.streaming import StreamedWeights, weights_of
from megatron.bridge.release.write.units import Content, Unit, share
from megatron.bridge.training.utils.all_ranks import gather, on_rank_0, sendable, together, waiting_group
from megatron.bridge.training.utils.pg_utils import get_pg_collection
from megatron.bridge.utils.common_utils import print_rank_0


T = TypeVar("T")

# How many threads a rank has at most; each writes a file of its own. Where there are fewer processors, some of them
# wait for the disk.
_THREADS = 4
# What conversions in flight may take, in bytes, where the environment variable does not say; a larger one is alone.
_MEMORY = 96 << 20
MEMORY_VARIABLE = "MEGATRON_BRIDGE_IMPORT_MEMORY"


def release_context(model: list[Any], release: bool) -> dict[str, Any] | None:
    """Return the checkpointing context with which `save_checkpoint` writes a release.

    Args:
        model: The model.
        release: Whether it is a release.

    Returns:
        The context; None where Megatron Core's own writer is to write: no release, or an object store.

    Raises:
        ValueError: If the weights of the model are in its Hugging Face files still, which no other writer knows.
    """
    weights = weights_of(model)
    if not release or MultiStorageClientFeature.is_enabled():
        if weights is not None:
            # Another writer would write what its memory holds, which is nothing.
            raise ValueError(
                "The weights of this model are in its Hugging Face files still: save it with release=True."
            )
        return None
    strategy: Any = ReleaseSaveStrategy(weights)
    if weights is None:
        # What several ranks hold is written by one of them, each its share.
        groups = get_pg_collection(model) if model else ProcessGroupCollection.use_mpu_process_groups(["dp_cp"])
        strategy = FullyParallelSaveStrategyWrapper(strategy, groups.dp_cp)
    return {"save_strategy": strategy}


class ReleaseSaveStrategy(TorchDistSaveShardedStrategy):  # type: ignore[misc,unused-ignore]
    """Saves a state dict of any ranks, or of a model whose weights are streamed.

    Each rank of a streamed import has the same state dict, and writes its share of it.
    """

    def __init__(self, weights: StreamedWeights | None) -> None:
        super().__init__()
        self._weights = weights

    def save(self, sharded_state_dict: dict[str, Any], checkpoint_dir: str | Path) -> None:
        """Save, on all ranks.

        Args:
            sharded_state_dict: The state dict.
            checkpoint_dir: An empty folder.

        Raises:
            Exception: What the first rank with an error raised, on every rank.
        """
        # A reader that has read the metadata of a release that is replaced meanwhile misses the files that it names.
        name = on_rank_0(lambda: uuid4().hex[:8])
        writer = together(lambda: _Writer(Path(checkpoint_dir), name, self._weights, _memory()))
        if self._weights is not None:
            _require_one_source(self._weights)
            self._take_share(self._weights, sharded_state_dict)
        by_key, _, _ = replace_state_dict_keys_with_sharded_keys(sharded_state_dict, self.keep_only_main_replica)
        try:
            checkpoint.save(  # type: ignore[attr-defined,unused-ignore]
                mcore_to_pyt_state_dict(by_key, False),
                storage_writer=writer,
                planner=_Planner(
                    dedup_replicated_tensors=False, flatten_state_dict=False, flatten_sharded_tensors=False
                ),
                process_group=waiting_group(),
            )
        except CheckpointException as error:
            # Each rank's error, with its rank; the others follow from the first.
            cause = checkpoint_causes(error)[0]
            raise cause from None
        together(writer.require_source)
        writer.conclude()

    def _take_share(self, weights: StreamedWeights, sharded_state_dict: dict[str, Any]) -> None:
        """Make this rank the one that writes its share of the units, and no other."""
        groups: dict[Any, list[ShardedTensor]] = {}
        for entry in nested_values(sharded_state_dict):
            if isinstance(entry, ShardedTensor):
                groups.setdefault(weights.group(entry.data) or entry.key, []).append(entry)
        sizes = [sum(entry.data.nbytes for entry in group) for group in groups.values()]
        mine = share(list(groups), sizes, dist.get_world_size())[dist.get_rank()]
        for name in groups.keys() - set(mine):
            for entry in groups[name]:
                entry.replica_id = 1
        for name in mine:
            for entry in groups[name]:
                entry.replica_id = 0


def _require_one_source(weights: StreamedWeights) -> None:
    """Refuse ranks that read different models, each from its own disk perhaps."""
    if dist.get_world_size() == 1:
        return
    sources = gather(together(lambda: describe_model(weights.folder)))
    for rank, source in enumerate(sources):
        if (source.config_sha256, source.tensors_sha256) != (sources[0].config_sha256, sources[0].tensors_sha256):
            raise ValueError(
                f"Rank {rank} reads another model than rank 0, from {source.model}. Give all ranks the same files."
            )


def _run(threads: Sequence[threading.Thread], stop: threading.Event) -> None:
    """Run threads to their end. Whatever comes between, nobody writes into a folder that is about to be removed."""
    interrupt: BaseException | None = None
    try:
        for thread in threads:
            thread.start()
    except BaseException as error:
        interrupt = error
        stop.set()
    for thread in threads:
        while thread.is_alive():
            try:
                thread.join()
            except BaseException as error:
                interrupt = interrupt or error
                stop.set()
    if interrupt is not None:
        raise interrupt


class _Planner(MCoreSavePlanner):  # type: ignore[misc,unused-ignore]
    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Any]:
        """Keep the plans in the metadata, where Megatron Core looks for them."""
        plans, metadata = super().create_global_plan(all_plans)
        metadata.all_local_plans = all_plans
        return plans, metadata


class _Writer(FileSystemWriter):
    """Writes the files of one rank, and on rank 0 the metadata of all."""

    def __init__(self, folder: Path, name: str, weights: StreamedWeights | None, memory: int) -> None:
        super().__init__(folder)
        self._folder, self._name, self._weights, self._memory = folder, name, weights, memory
        self._digests: dict[str, str] = {}
        self._started, self._bytes, self._peak = time.monotonic(), 0, 0

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """See StorageWriter."""
        try:
            return self._write([(item, planner.resolve_data(item)) for item in plan.items])
        except BaseException as error:
            raise sendable(error) from None

    def _write(self, items: Sequence[tuple[WriteItem, Any]]) -> Future[list[WriteResult]]:
        units = self._units(items)
        number = min(_THREADS, max(1, len(units)))
        names = [f"__{dist.get_rank()}_{at}_{self._name}.distcp" for at in range(number)]
        shares = share(units, [unit.size for unit in units], number)
        self._bytes = sum(unit.size for unit in units)
        budget, stop = _Budget(self._memory), threading.Event()
        # In the order of the files: what an import writes does not depend on which thread was faster.
        results: dict[str, list[WriteResult]] = {name: [] for name in names}
        errors: list[BaseException] = []
        with tqdm(
            desc="writing" if dist.get_world_size() == 1 else "writing rank 0's share",
            total=self._bytes,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None if dist.get_rank() == 0 and sys.stderr is not None else True,
        ) as progress:

            def write(name: str, mine: Sequence[Unit]) -> None:
                try:
                    with EntryFile(self._folder / name, stop, progress.update) as file:
                        for unit in mine:
                            with budget.admit(unit.memory, stop):
                                results[name].extend(file.write_entry(content) for content in unit.contents())
                    self._digests[name] = file.digest
                except BaseException as error:
                    errors.append(error)
                    stop.set()

            threads = [threading.Thread(target=write, args=pair) for pair in zip(names, shares) if pair[1]]
            _run(threads, stop)
        self._peak = budget.peak
        if errors:
            raise errors[0]
        written = [result for name in names for result in results[name]]
        if len(written) != len(items):
            raise RuntimeError(f"{len(written)} entries were written, and {len(items)} planned.")
        future: Future[list[WriteResult]] = Future()
        future.set_result(written)
        return future

    def require_source(self) -> None:
        """Require that the files of the source are those that were accounted for still."""
        if self._weights is not None:
            self._weights.files.require_unchanged()

    def conclude(self) -> None:
        """Check that the source was read as it was accounted for, and write the checksums."""
        ranks = gather((self._digests, self._bytes, None if self._weights is None else self._weights.read))
        if self._weights is not None:
            self._weights.require_all_read([read for _, _, read in ranks if read is not None])
        digests = {name: digest for own, _, _ in ranks for name, digest in own.items()}
        on_rank_0(lambda: write_manifest(self._folder, digests))
        size, seconds = sum(size for _, size, _ in ranks), time.monotonic() - self._started
        print_rank_0(
            f"Wrote {tqdm.format_sizeof(size, 'B')} in {seconds:.1f} s, {tqdm.format_sizeof(size / seconds, 'B')}/s; what rank 0 converted in "
            f"memory was at most {self._peak / 2**20:.0f} MiB at a time"
        )

    def _units(self, items: Sequence[tuple[WriteItem, Any]]) -> list[Unit]:
        groups: dict[Any, list[tuple[WriteItem, torch.Tensor]]] = {}
        units = []
        for item, data in items:
            group = (
                self._weights.group(data) if self._weights is not None and item.type != WriteItemType.BYTE_IO else None
            )
            if group is None:
                units.append(_unit_of_memory(item, data))
            else:
                groups.setdefault(group, []).append((item, data))
        if self._weights is not None:
            units += [self._weights.unit(entries) for entries in groups.values()]
        return units


def _memory() -> int:
    text = os.environ.get(MEMORY_VARIABLE)
    if text and not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(f"{MEMORY_VARIABLE} is {text!r}. Give a number of bytes, such as {_MEMORY}.")
    return int(text) if text else _MEMORY


def _unit_of_memory(item: WriteItem, data: Any) -> Unit:
    """Make a unit of what is in memory: a tensor, or what is serialized already."""
    if not isinstance(data, torch.Tensor):
        view = torch.frombuffer(data.getbuffer(), dtype=torch.uint8) if data.getbuffer().nbytes else torch.empty(0)
        return Unit([item], view.nbytes, 0, lambda: iter([Content(item, view)]))

    def contents() -> Iterator[Content]:
        tensor = data.detach()
        if tensor.is_cuda and "dequantize" in type(tensor).__dict__:
            # As Megatron Core does: no reader knows Transformer Engine's class.
            tensor = tensor.dequantize()
        yield Content(item, tensor.cpu().as_subclass(torch.Tensor))

    is_there = data.device.type == "cpu" and data.is_contiguous()
    return Unit([item], data.nbytes, 0 if is_there else data.nbytes, contents)


class _Budget:
    """Admits conversions by what they take."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken, self.peak, self._condition = limit, 0, 0, threading.Condition()
        self._trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)

    @contextmanager
    def admit(self, size: int, stop: threading.Event) -> Iterator[None]:
        """Wait until there is room; one that is larger than all of it is let in alone."""
        with self._condition:
            self._condition.wait_for(lambda: stop.is_set() or not self._taken or self._taken + size <= self._limit)
            self._taken += size
            self.peak = max(self.peak, self._taken)
        try:
            yield
        finally:
            if size and self._trim is not None:
                # glibc keeps what a thread has freed for that thread: with several, several times the budget.
                self._trim(0)
            with self._condition:
                self._taken -= size
                self._condition.notify_all()
