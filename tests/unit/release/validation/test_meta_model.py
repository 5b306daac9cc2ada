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

"""A model built on the meta device has no memory, and its modules convert on the CPU."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from megatron.bridge.release.validation.meta_model import _MetaTensors, build_on_meta, cpu_twin


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(3, device="cpu"),
        lambda: torch.zeros(3, dtype=torch.float16),
        lambda: torch.arange(4.0),
        lambda: torch.randn(3),
        lambda: torch.empty_like(torch.empty(3), device="cpu"),
        lambda: torch.empty(3).to("cpu", torch.float64),
        lambda: torch.nn.Linear(4, 3, device="cpu").weight,
        lambda: torch.full((2,), 1.0, device="cpu").add_(1).chunk(2)[0],
    ],
)
def test_tensor_is_created_on_meta_for_any_device(make):
    with torch.device("meta"), _MetaTensors():
        assert make().is_meta
    assert not torch.empty(3).is_meta


def test_linspace_on_cpu_keeps_values():
    with torch.device("meta"), _MetaTensors():
        assert [rate.item() for rate in torch.linspace(0, 1, 3, device="cpu")] == [0.0, 0.5, 1.0]


class _Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        # As Transformer Engine's modules and some of Megatron Core's make theirs.
        self.weight = torch.nn.Parameter(torch.empty(1 << 20, 1 << 20, device="cpu"))
        self.weight.data.copy_(torch.empty(1 << 20, 1 << 20, dtype=torch.float32).to(torch.bfloat16))
        self.register_buffer("bias", torch.zeros(8, device="cpu"))


class _Provider(SimpleNamespace):
    def provide(self) -> torch.nn.Module:
        return _Model()

    def provide_distributed_model(self, **keywords: Any) -> list[torch.nn.Module]:
        self.keywords = keywords
        return keywords["pre_wrap_hook"]([self.provide()])


def test_build_on_meta_builds_large_model_and_restores_provider():
    provider, seen = _Provider(), []
    (model,) = build_on_meta(provider, before_wrapping=lambda models: seen.append(torch.ones(1)) or models)
    assert model.weight.is_meta and model.bias.is_meta and model.weight.nbytes == 1 << 42
    # Only what a model makes is on meta, not what a hook does.
    assert not seen[0].is_meta
    assert provider.perform_initialization is False and "provide" not in vars(provider)


def test_failed_build_restores_provider():
    provider = _Provider()
    provider.provide_distributed_model = lambda **_: provider.provide(1)
    with pytest.raises(TypeError):
        build_on_meta(provider)
    assert "provide" not in vars(provider)


def test_cpu_twin_keeps_shapes_and_allocates_single_elements():
    module = build_on_meta(_Provider())[0]
    module.register_parameter("none", None)
    twin = cpu_twin(module)
    assert type(twin) is _Model and twin.none is None
    outer = torch.nn.Sequential(module)
    outer.register_module("none", None)
    assert next(cpu_twin(outer).parameters()).device.type == "cpu" and next(outer.parameters()).is_meta
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        found = getattr(twin, name)
        assert (found.device.type, found.shape, found.dtype) == ("cpu", tensor.shape, tensor.dtype)
        assert found.untyped_storage().nbytes() == tensor.itemsize and tensor.is_meta
