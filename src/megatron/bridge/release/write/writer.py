# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Writes the weights of a release in the format torch_dist, with several threads.

Megatron Core makes the plan and torch writes the metadata. The bytes of an entry come from memory or from the files of
the source model; they are hashed while they are written, and nothing is read a second time.
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
from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor
from torch.distributed import checkpoint
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future
from tqdm import tqdm

from megatron.bridge.release.compat.megatron_core_api import (
    FullyParallelSaveStrategyWrapper,
    MCoreSavePlanner,
    TorchDistSaveShardedStrategy,
    mcore_to_pyt_state_dict,
    nested_values,
    replace_state_dict_keys_with_sharded_keys,
)
from megatron.bridge.release.compat.torch_api import CheckpointException, FileSystemWriter, checkpoint_causes
from megatron.bridge.release.source.provenance import describe_model
from megatron.bridge.release.write.entry_file import EntryFile, Payload, WorkItem
from megatron.bridge.release.write.errors import DifferentSourceError, EnvironmentVariableError, NoWeightsError
from megatron.bridge.release.write.streaming import StreamedWeights, weights_of
from megatron.bridge.training.utils.collectives import (
    all_gather_object,
    on_rank_0,
    picklable_error,
    run_on_all_ranks,
    untimed_group,
)
from megatron.bridge.training.utils.pg_utils import get_pg_collection
from megatron.bridge.utils.common_utils import print_rank_0


T = TypeVar("T")

# Maximum number of threads per rank. Each writes its own file; some wait for the disk.
_THREADS = 4
# Default limit of the memory of concurrent conversions, in bytes. A larger conversion runs alone.
_MEMORY = 96 << 20
MEMORY_VARIABLE = "MEGATRON_BRIDGE_IMPORT_MEMORY"


def require_weights(model: list[Any]) -> None:
    """Refuse a model that was built for streaming: no other writer finds its weights.

    Raises:
        NoWeightsError: If its weights are not in memory.
    """
    if weights_of(model) is not None:
        raise NoWeightsError


class ReleaseSaveStrategy(TorchDistSaveShardedStrategy):  # type: ignore[misc,unused-ignore]
    """Saves the weights of a model: on any ranks, or streamed.

    Every rank of a streamed import has the same state dict, and writes its share of it.

    Attributes:
        common_state: The common state that Megatron Core stores, after a save; None if it writes ``common.pt``.
        digests: SHA-256 of the files of all ranks, by their names, after a save.
    """

    def __init__(self, model: list[Any]) -> None:
        super().__init__()
        self._model, self._weights = model, weights_of(model)
        self.common_state: dict[str, Any] | None = None
        self.digests: dict[str, str] = {}

    def wrap(self) -> Any:
        """Return the strategy for `save_checkpoint`: of ranks with the same tensors, each writes its share."""
        if self._weights is not None:
            return self
        return FullyParallelSaveStrategyWrapper(self, get_pg_collection(self._model).dp_cp)

    def save(self, sharded_state_dict: dict[str, Any], checkpoint_dir: str | Path) -> None:
        """Save a state dict into an empty directory. Collective; the first error of a rank is raised on all.

        See `TorchDistSaveShardedStrategy`.
        """
        # Unique file names: a reader with the metadata of a replaced release must not find files of the new one.
        name = on_rank_0(lambda: uuid4().hex[:8])
        writer = run_on_all_ranks(lambda: _Writer(Path(checkpoint_dir), name, self._weights, _memory()))
        # Since core 0.19, Megatron Core stores the common state among the tensors.
        common_state = sharded_state_dict.get("common_state")
        self.common_state = common_state.data if isinstance(common_state, ShardedObject) else None
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
                process_group=untimed_group(),
            )
        except CheckpointException as error:
            # Errors by rank; the other ranks fail because of the first one.
            cause = checkpoint_causes(error)[0]
            raise cause from None
        run_on_all_ranks(writer.require_source)
        self.digests = writer.finalize()

    def _take_share(self, weights: StreamedWeights, sharded_state_dict: dict[str, Any]) -> None:
        """Mark the entries of this rank's share as its own, and the others as replicas."""
        groups: dict[Any, list[ShardedTensor]] = {}
        for entry in nested_values(sharded_state_dict):
            if isinstance(entry, ShardedTensor):
                groups.setdefault(weights.group(entry.data) or entry.key, []).append(entry)
        sizes = [sum(entry.data.nbytes for entry in group) for group in groups.values()]
        mine = balance(list(groups), sizes, dist.get_world_size())[dist.get_rank()]
        for name in groups.keys() - set(mine):
            for entry in groups[name]:
                entry.replica_id = 1
        for name in mine:
            for entry in groups[name]:
                entry.replica_id = 0


def _require_one_source(weights: StreamedWeights) -> None:
    """Check that all ranks read identical files, which may be on their own disks."""
    if dist.get_world_size() == 1:
        return
    sources = all_gather_object(run_on_all_ranks(lambda: describe_model(weights.folder)))
    for rank, source in enumerate(sources):
        if (source.config_sha256, source.tensors_sha256) != (sources[0].config_sha256, sources[0].tensors_sha256):
            raise DifferentSourceError(rank, Path(source.model))


def _run(threads: Sequence[threading.Thread], stop: threading.Event) -> None:
    """Run threads to completion, also after Ctrl-C, so that none writes into a staging directory that is being removed."""
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
        """Keep the plans in the metadata, where Megatron Core reads them."""
        plans, metadata = super().create_global_plan(all_plans)
        metadata.all_local_plans = all_plans
        return plans, metadata


class _Writer(FileSystemWriter):
    """Writes the files of one rank, and on rank 0 the metadata."""

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
            raise picklable_error(error) from None

    def _write(self, items: Sequence[tuple[WriteItem, Any]]) -> Future[list[WriteResult]]:
        work_items = self._work_items(items)
        number = min(_THREADS, max(1, len(work_items)))
        names = [f"__{dist.get_rank()}_{at}_{self._name}.distcp" for at in range(number)]
        shares = balance(work_items, [work_item.size for work_item in work_items], number)
        self._bytes = sum(work_item.size for work_item in work_items)
        budget, stop = _Budget(self._memory), threading.Event()
        # In the order of the files, so that the result does not depend on the speed of the threads.
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

            def write(name: str, share: Sequence[WorkItem]) -> None:
                try:
                    with EntryFile(self._folder / name, stop, progress.update) as file:
                        for work_item in share:
                            with budget.admit(work_item.memory, stop):
                                results[name].extend(file.write_entry(payload) for payload in work_item.payloads())
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
            raise RuntimeError(
                f"Internal error: {len(written)} entries were written instead of {len(items)}. Please report this bug."
            )
        future: Future[list[WriteResult]] = Future()
        future.set_result(written)
        return future

    def require_source(self) -> None:
        """Check that the files of the source have not changed since their headers were read."""
        if self._weights is not None:
            self._weights.files.require_unchanged()

    def finalize(self) -> dict[str, str]:
        """Check that the source was read as planned, and return the digests of all files. Collective."""
        ranks = all_gather_object((self._digests, self._bytes, None if self._weights is None else self._weights.read))
        if self._weights is not None:
            self._weights.require_all_read([read for _, _, read in ranks if read is not None])
        size, seconds = sum(size for _, size, _ in ranks), time.monotonic() - self._started
        print_rank_0(
            f"Wrote {tqdm.format_sizeof(size, 'B')} in {seconds:.1f} s ({tqdm.format_sizeof(size / seconds, 'B')}/s). Peak "
            f"conversion memory on rank 0: {self._peak / 2**20:.0f} MiB."
        )
        return {name: digest for digests, _, _ in ranks for name, digest in digests.items()}

    def _work_items(self, items: Sequence[tuple[WriteItem, Any]]) -> list[WorkItem]:
        groups: dict[Any, list[tuple[WriteItem, torch.Tensor]]] = {}
        work_items = []
        for item, data in items:
            group = (
                self._weights.group(data) if self._weights is not None and item.type != WriteItemType.BYTE_IO else None
            )
            if group is None:
                work_items.append(_item_in_memory(item, data))
            else:
                groups.setdefault(group, []).append((item, data))
        if self._weights is not None:
            work_items += [self._weights.work_item(entries) for entries in groups.values()]
        return work_items


def _memory() -> int:
    text = os.environ.get(MEMORY_VARIABLE)
    if text and not re.fullmatch("[0-9]{1,18}", text):
        raise EnvironmentVariableError(MEMORY_VARIABLE, text, f"a number of bytes, such as {_MEMORY}")
    return int(text) if text else _MEMORY


def _item_in_memory(item: WriteItem, data: Any) -> WorkItem:
    """Return the work item of a tensor in memory, or of serialized data."""
    if not isinstance(data, torch.Tensor):
        view = torch.frombuffer(data.getbuffer(), dtype=torch.uint8) if data.getbuffer().nbytes else torch.empty(0)
        return WorkItem([item], view.nbytes, 0, lambda: iter([Payload(item, view)]))

    def payloads() -> Iterator[Payload]:
        tensor = data.detach()
        if tensor.is_cuda and "dequantize" in type(tensor).__dict__:
            # Like Megatron Core: readers do not support Transformer Engine's tensor class.
            tensor = tensor.dequantize()
        yield Payload(item, tensor.cpu().as_subclass(torch.Tensor))

    is_ready = data.device.type == "cpu" and data.is_contiguous()
    return WorkItem([item], data.nbytes, 0 if is_ready else data.nbytes, payloads)


def balance(things: Sequence[T], sizes: Sequence[int], number: int) -> list[list[T]]:
    """Divide things evenly by their sizes, each share in the given order. All ranks compute the same shares."""
    shares: list[list[int]] = [[] for _ in range(number)]
    totals = [0] * number
    for at in sorted(range(len(things)), key=lambda at: -sizes[at]):
        least = totals.index(min(totals))
        shares[least].append(at)
        totals[least] += sizes[at]
    return [[things[at] for at in sorted(share)] for share in shares]


class _Budget:
    """Limits the memory of concurrent conversions."""

    def __init__(self, limit: int) -> None:
        self._limit, self._taken, self.peak, self._condition = limit, 0, 0, threading.Condition()
        self._trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)

    @contextmanager
    def admit(self, size: int, stop: threading.Event) -> Iterator[None]:
        """Wait until the memory is available. A conversion that exceeds the limit runs alone."""
        with self._condition:
            self._condition.wait_for(lambda: stop.is_set() or not self._taken or self._taken + size <= self._limit)
            self._taken += size
            self.peak = max(self.peak, self._taken)
        try:
            yield
        finally:
            if size and self._trim is not None:
                # Return freed arenas to the OS; glibc caches them per thread.
                self._trim(0)
            with self._condition:
                self._taken -= size
                self._condition.notify_all()
