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

"""Makes this process a host with CUDA and Transformer Engine, on any host.

Transformer Engine is its own Python sources, from the wheel of PyPI that holds nothing else, with a mock for its C++.
CUDA is there by its own word, and the CPU answers its calls. So Megatron Core defines Transformer Engine's modules, and
builds of them what it builds on a host with a GPU: names, shapes, dtypes and the ways of initialization are the real
ones. Nothing can be computed with them.

    become_host(WHEEL)        # before Megatron Core is imported
    become_host_of_core()     # after it
"""

import importlib
import os
import sys
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode


# Imported by Transformer Engine, beside its C++: debugging tools and exports to ONNX.
_EXTENSION = "transformer_engine_torch"
_TOOLS = [
    "onnx",
    "onnx_ir",
    "onnxscript",
    *(
        f"nvdlfw_inspect{name}"
        for name in (
            "",
            ".api",
            ".base",
            ".debug_features",
            ".debug_features.log_tensor_stats",
            ".logging",
            ".registry",
            ".utils",
        )
    ),
]


class _Mocked(ModuleType):
    """A module, and package, that has whatever is asked of it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__, self.__spec__ = [], ModuleSpec(name, None)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, mock.MagicMock(name=name))
        return getattr(self, name)


class _Waiting:
    """A stream or an event. On the CPU everything runs in one order, which nothing has to wait for."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None

    def __enter__(self) -> "_Waiting":
        return self

    def __exit__(self, *_: object) -> None: ...


class _CpuForCuda(TorchFunctionMode):
    """Answers ``device="cuda"`` with the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = "cpu"
        if func is torch.Tensor.to and len(args) > 1 and _is_cuda(args[1]):
            args = (args[0], "cpu", *args[2:])
        return func(*args, **kwargs)


def _is_cuda(device: object) -> bool:
    return type(device) is int or str(device).startswith("cuda")


def become_host(wheel: Path) -> None:
    """Become such a host, for good. Call it before Megatron Core is imported.

    Args:
        wheel: The wheel ``transformer_engine-…-py3-none-any.whl``.
    """
    assert "megatron.core" not in sys.modules
    _stand_in_for_cuda()
    sys.path.insert(0, str(wheel))
    mocked = {name: _Mocked(name) for name in (_EXTENSION, *_TOOLS) if name not in sys.modules}
    sys.modules.update(mocked)
    spec = importlib.util.find_spec("transformer_engine")
    package = importlib.util.module_from_spec(spec)
    sys.modules["transformer_engine"] = package
    # So named, it does not look for the libraries of its C++.
    with mock.patch.dict(os.environ, NVTE_PROJECT_BUILDING="1"):
        common = importlib.import_module("transformer_engine.common")
        common.load_framework_extension = lambda framework: None
        spec.loader.exec_module(package)
    for name in mocked.keys() - {_EXTENSION}:
        # Others look for them, too.
        del sys.modules[name]
    utils = importlib.import_module("transformer_engine.pytorch.utils")
    attention = importlib.import_module(
        "transformer_engine.pytorch.attention.dot_product_attention.dot_product_attention"
    )
    for module in (utils, attention):
        module.get_cudnn_version = lambda: (9, 10, 0)
        module.get_device_compute_capability = lambda: (9, 0)


def become_host_of_core() -> None:
    """Let Megatron Core switch no CUDA generator. Call it after Megatron Core is imported."""
    from megatron.core.tensor_parallel.random import CudaRNGStatesTracker

    CudaRNGStatesTracker.fork = lambda self, name="": nullcontext()


def _stand_in_for_cuda() -> None:
    properties = SimpleNamespace(major=9, minor=0, multi_processor_count=132, total_memory=80 << 30)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "set_device": lambda device: None,
        "current_device": lambda: 0,
        "synchronize": lambda device=None: None,
        "get_device_properties": lambda device=None: properties,
        "get_device_capability": lambda device=None: (9, 0),
        "get_rng_state": lambda device="cuda": torch.get_rng_state(),
        "current_stream": lambda device=None: _Waiting(),
        "stream": lambda stream: nullcontext(),
        "Stream": _Waiting,
        "Event": _Waiting,
    }.items():
        setattr(torch.cuda, name, value)
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *_, **__: self
    _CpuForCuda().__enter__()
