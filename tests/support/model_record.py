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

"""Records the model that Megatron-LM's real script has loaded, before it is trained."""

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType

import torch


TOKENS = torch.arange(512)[None] % 400
_TRAINING = "megatron.training.training"


def install(file: str) -> None:
    """Have the model recorded when `setup_model_and_optimizer` has made and loaded it.

    Args:
        file: File to write with `torch.save`: ``parameters``, ``inv_freq``, ``logits`` (of `TOKENS`), ``iteration``, and
            ``core``, the version of Megatron Core.
    """

    def record(module: ModuleType) -> None:
        set_up = module.setup_model_and_optimizer

        def recorded(*words, **named):
            result = set_up(*words, **named)
            torch.save(_record(result[0][0]), file)
            return result

        module.setup_model_and_optimizer = recorded

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname, path, target=None):
            if fullname != _TRAINING:
                return None
            spec = importlib.machinery.PathFinder.find_spec(fullname, path)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                record(module)

            spec.loader.exec_module = exec_module
            return spec

    if _TRAINING in sys.modules:
        record(sys.modules[_TRAINING])
    else:
        sys.meta_path.insert(0, Finder())


def _record(model: torch.nn.Module) -> dict:
    from megatron.core import __version__
    from megatron.core.utils import unwrap_model
    from megatron.training import get_args

    model = unwrap_model(model)
    parameters = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    length = TOKENS.shape[1]
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).triu(1)
    with torch.no_grad():
        logits = model.eval()(TOKENS, torch.arange(length)[None], mask).float()
    model.train()
    return {
        "parameters": parameters,
        "inv_freq": model.rotary_pos_emb.inv_freq.clone(),
        "logits": logits,
        "iteration": get_args().iteration,
        "core": __version__,
    }
