# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""torch still has what the package uses of its private API."""

import importlib
import inspect
import io
import pickle

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint import FileSystemWriter

from megatron.bridge.release.compat import checkpoint_format, torch_api


def test_storage_info_has_a_path_and_a_range():
    info = torch_api.StorageInfo("file", 3, 5)
    assert (info.relative_path, info.offset, info.length) == ("file", 3, 5)
    assert pickle.loads(pickle.dumps(info)) == info
    # This name is written into .metadata.
    assert torch_api.StorageInfo.__name__ == "_StorageInfo"


def test_skip_data_leaves_the_bytes_out():
    file = io.BytesIO()
    with torch_api.skip_data():
        torch.save(torch.ones(4), file)
    file.seek(0)
    assert torch.load(file, weights_only=True).tolist() == [0.0] * 4


def test_dispatch_mode_sees_devices():
    class Mode(torch_api.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(torch_api.has_device_argument(func))
            return func(*args, **kwargs or {})

    seen = []
    with Mode():
        torch.zeros(2) + 1
    assert True in seen and False in seen


def test_checkpoint_causes_are_sorted_by_rank():
    first, second = ValueError("first"), KeyError("second")
    error = torch_api.CheckpointException("save", {1: (second, None), 0: (first, None)})
    assert torch_api.checkpoint_causes(error) == [first, second] and not isinstance(error, Exception)
    assert torch_api.checkpoint_causes(OSError()) == []


def test_modification_is_counted():
    tensor = torch.zeros(2, device="meta")
    assert not torch_api.is_modified(tensor)
    tensor.add_(1)
    assert torch_api.is_modified(tensor)


def test_storages_of_meta_tensors_are_compared():
    tensor = torch.zeros(4, device="meta")
    assert torch_api.storage_id(tensor) == torch_api.storage_id(tensor.view(2, 2))
    assert torch_api.storage_id(tensor) != torch_api.storage_id(torch.zeros(4, device="meta"))


def test_mapped_module_is_independent():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    mapped = torch_api.map_module(module, lambda tensor: torch.empty(tensor.shape, device="meta"))
    assert {tensor.device.type for tensor in mapped.state_dict().values()} == {"meta"}
    assert {tensor.device.type for tensor in module.state_dict().values()} == {"cpu"}
    assert mapped.state_dict().keys() == module.state_dict().keys()


def test_single_process_group_requires_no_address():
    dist.init_process_group("gloo", store=torch_api.HashStore(), rank=0, world_size=1)
    try:
        group = dist.new_group([0], backend="gloo", use_local_synchronization=True)
        assert group.size() == 1
    finally:
        dist.destroy_process_group()


def test_dist_error_is_a_runtime_error():
    assert issubclass(torch_api.DistError, RuntimeError)


def test_writer_has_the_methods_that_a_release_overrides():
    assert {"path"} <= inspect.signature(FileSystemWriter).parameters.keys()
    assert callable(FileSystemWriter.write_data) and callable(FileSystemWriter.finish)


def test_allocation_failure_is_recognized():
    with pytest.raises(RuntimeError, match=checkpoint_format.ALLOCATION_FAILURE):
        torch.empty(1 << 60)


def test_gelu_name_matches_checkpoint_format():
    function = torch.nn.functional.gelu
    assert (
        f"{function.__module__}.{function.__qualname__}" == checkpoint_format.GELU
        or checkpoint_format.GELU.endswith(function.__name__)
    )


@pytest.mark.parametrize(
    ("module", "name"),
    sorted(
        pair
        for pair in checkpoint_format.STATE_CLASSES | checkpoint_format.METADATA_CLASSES
        if pair[0].startswith("torch")
    ),
    ids=".".join,
)
def test_pickled_name_exists(module, name):
    assert hasattr(importlib.import_module(module), name)
