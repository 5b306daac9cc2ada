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

"""Imports that the functional tests share, beside those of `releases.py`: of more models, and by two ranks.

    ========== ====================================================================== ==========================
    imported   as `tiny`, for each of several models in turn, and for tp2, pp2, dp2:  half a minute, two_ranks
               a test that has it runs once for each                                  among it
    two_ranks  what `parallel_worker.py` wrote on two ranks, and its model            25 seconds: one torchrun
    smollm2    a real Llama of 135 million parameters (tests/conftest.py)             two seconds, once it is made
    ========== ====================================================================== ==========================

For these fixtures alone: `kept`, which has what `imported` has made.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from models import FAMILIES, ODD_LLAMA, TINY_LLAMAS, make_tiny_llama, save_random_model
from releases import Imported, default, described, families, hf, import_release, other, root, shared, tiny  # noqa: F401
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig
from workers import run_worker


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder that `parallel_worker.py` filled on two ranks, and the model it converted."""
    out = tmp_path_factory.mktemp("two_ranks")
    hf = make_tiny_llama(out / "hf", "padded-vocabulary")
    import_release(hf, out / "tp1")
    save_random_model(out / "experts", FAMILIES["Qwen3-MoE (experts, qk-norm)"].config)
    odd = save_random_model(out / "odd", LlamaConfig(**ODD_LLAMA))
    less = Path(shutil.copytree(odd, out / "less"))
    tensors = load_file(less / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, less / "model.safetensors", {"format": "pt"})
    run_worker("parallel_worker", hf, out / "tp1", out / "experts", out, ranks=2)
    return out, hf


@pytest.fixture(scope="session")
def kept() -> dict[str, Imported]:
    """What `imported` has made, for the next file that goes through it."""
    return {}


@pytest.fixture(scope="session", params=[*TINY_LLAMAS, "smollm2", "tp2", "pp2", "dp2"])
def imported(
    request: pytest.FixtureRequest,
    kept: dict[str, Imported],
    shared: Callable[[str, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Imported:
    """Each model in turn, imported with ``release=True``; and one model as two ranks wrote it. Tests leave them so."""
    name = request.param
    if name in ("tp2", "pp2", "dp2"):
        out, hf = request.getfixturevalue("two_ranks")
        return described(hf, shared(f"imported[{name}]", out / name))
    if name not in kept:
        folder = tmp_path_factory.mktemp(name)
        hf = request.getfixturevalue("smollm2") if name == "smollm2" else make_tiny_llama(folder / "hf", name)
        kept[name] = import_release(hf, folder / "root")
        shared(f"imported[{name}]", folder)
    return kept[name]
