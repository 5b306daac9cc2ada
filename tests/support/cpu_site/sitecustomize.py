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

"""Lets Megatron-LM's real scripts run on a host without CUDA: the workers of torchrun import this file at their start.

    PYTHONPATH=tests/support/cpu_site MEGATRON_LM_ON_CPU=1 torchrun pretrain_gpt.py FLAGS

`torch.cuda` answers as if there were one device, which is the CPU. Megatron-LM's parser, builder, data sets, loader,
writer, optimizer and training loop are its own. With MODEL_RECORD=FILE, the model is recorded when it is loaded
(`model_record.py`).
"""

import os
import sys


def _answer_for_cuda() -> None:
    import contextlib
    import types
    from collections import defaultdict

    # Compiled for CUDA, functions need its driver.
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    import torch
    from torch.overrides import TorchFunctionMode

    class Stream:
        """A stream or an event: on the CPU everything runs in one order."""

        device, cuda_stream = torch.device("cpu"), 0

        def __init__(self, *_, **__) -> None: ...

        def __enter__(self) -> "Stream":
            return self

        def __exit__(self, *_) -> None: ...

        def _pass(self, *_, **__) -> None: ...

        wait_stream = wait_event = record = record_event = wait = synchronize = _pass

        def query(self) -> bool:
            return True

        def elapsed_time(self, _) -> float:
            return 1.0

    size = 8 << 30
    properties = types.SimpleNamespace(major=9, minor=0, name="cpu", total_memory=size, multi_processor_count=1)
    values = {
        **dict.fromkeys(("is_available", "is_initialized"), True),
        **dict.fromkeys(("init", "_lazy_init", "synchronize", "set_device", "set_stream", "empty_cache"), None),
        **dict.fromkeys(("ipc_collect", "reset_peak_memory_stats"), None),
        **dict.fromkeys(("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"), 0),
        **dict.fromkeys(("current_stream", "default_stream"), Stream()),
        **{"device_count": 1, "current_device": 0, "is_current_stream_capturing": False, "utilization": 0},
        **{"get_device_properties": properties, "get_device_capability": (9, 0), "get_device_name": "cpu"},
        **{"mem_get_info": (size, size), "memory_stats": defaultdict(int)},
    }
    functions = {name: lambda *_, value=value, **__: value for name, value in values.items()}
    functions |= {
        "stream": lambda stream: contextlib.nullcontext(),
        "device": lambda device: contextlib.nullcontext(),
        "_lazy_call": lambda call, **_: call(),
        "manual_seed": lambda seed: torch.default_generator.manual_seed(int(seed)),
        "manual_seed_all": lambda seed: torch.default_generator.manual_seed(int(seed)),
        "initial_seed": torch.initial_seed,
        "get_rng_state": lambda *_, **__: torch.get_rng_state(),
        "set_rng_state": lambda state, *_, **__: torch.set_rng_state(state),
        "Stream": Stream,
        "Event": Stream,
        "default_generators": (torch.default_generator,),
    }
    for module in (torch.cuda, torch.cuda.memory, torch.cuda.random):
        for name, function in functions.items():
            if hasattr(module, name):
                setattr(module, name, function)
    torch.cuda.nvtx.range_push = torch.cuda.nvtx.range_pop = lambda *_, **__: None
    torch.accelerator.is_available = lambda *_, **__: False
    torch.accelerator.current_accelerator = lambda *_, **__: None
    torch.accelerator.current_device_index = lambda: 0

    class TensorType(type):
        """torch.cuda.FloatTensor and the like, of tensors on the CPU."""

        def __call__(cls, *sizes):
            is_data = sizes and isinstance(sizes[0], (list, tuple))
            return torch.tensor(sizes[0], dtype=cls.dtype) if is_data else torch.empty(sizes, dtype=cls.dtype)

        def __instancecheck__(cls, tensor) -> bool:
            return isinstance(tensor, torch.Tensor) and tensor.dtype == cls.dtype

    for name, dtype in {
        **{"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16},
        **{"Long": torch.int64, "Int": torch.int32, "Byte": torch.uint8, "Bool": torch.bool},
    }.items():
        setattr(torch.cuda, f"{name}Tensor", TensorType(f"{name}Tensor", (), {"dtype": dtype}))

    of_type = torch.Tensor.type

    def tensor_type(tensor, dtype=None, *words, **named):
        if dtype is None:
            # Under the mode below, it is called by its own call.
            return "torch.cuda." + of_type(tensor).removeprefix("torch.").removeprefix("cuda.")
        return of_type(tensor, dtype.replace(".cuda", "") if isinstance(dtype, str) else dtype, *words, **named)

    torch.Tensor.type = tensor_type
    torch.Tensor.cuda = torch.Tensor.pin_memory = lambda tensor, *_, **__: tensor
    torch.Tensor.record_stream = lambda tensor, stream: None

    def on_cpu(device):
        is_index = isinstance(device, int) and not isinstance(device, bool)
        is_cuda = isinstance(device, (str, torch.device)) and str(device).startswith("cuda")
        return "cpu" if is_index or is_cuda else device

    class CpuForCuda(TorchFunctionMode):
        """Replaces ``device="cuda"`` by the CPU."""

        def __torch_function__(self, func, types, args=(), kwargs=None):
            kwargs = dict(kwargs or {})
            kwargs.pop("pin_memory", None)
            if "device" in kwargs:
                kwargs["device"] = on_cpu(kwargs["device"])
            if func is torch.Tensor.to and len(args) > 1:
                args = (args[0], on_cpu(args[1]), *args[2:])
            return func(*args, **kwargs)

    CpuForCuda().__enter__()
    load = torch.load
    torch.load = lambda file, map_location=None, *words, **named: load(file, "cpu", *words, **named)


# torchrun itself needs no device, and neither do the processes that Megatron Core spawns to pass results on.
_IS_SPAWNED = any(word.startswith("from multiprocessing.") for word in sys.orig_argv)
if os.environ.get("MEGATRON_LM_ON_CPU") and "LOCAL_RANK" in os.environ and not _IS_SPAWNED:
    _answer_for_cuda()
    if "MODEL_RECORD" in os.environ:
        import model_record

        model_record.install(os.environ["MODEL_RECORD"])
