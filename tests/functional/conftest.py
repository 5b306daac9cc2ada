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

"""Imports that the functional tests share: each model is converted once."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from models import FAMILIES, ODD_LLAMA, TINY_LLAMAS, make_tiny_llama, save_random_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, LlamaConfig
from workers import run_worker


@dataclass(frozen=True)
class Imported:
    """A model and the release made of it."""

    hf: Path
    root: Path
    padded_vocab_size: int


def _import(hf: Path, root: Path) -> Imported:
    from megatron.bridge import AutoBridge

    AutoBridge.import_ckpt(hf, root, release=True)
    return _imported(hf, root)


def _imported(hf: Path, root: Path) -> Imported:
    return Imported(hf, root, -(-AutoConfig.from_pretrained(hf).vocab_size // 128) * 128)


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder that `parallel_worker.py` filled on two ranks, and the model it converted."""
    out = tmp_path_factory.mktemp("two_ranks")
    hf = make_tiny_llama(out / "hf", "padded-vocabulary")
    _import(hf, out / "tp1")
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
    request: pytest.FixtureRequest, kept: dict[str, Imported], tmp_path_factory: pytest.TempPathFactory
) -> Imported:
    """Each model in turn, imported with ``release=True``; and one model as two ranks wrote it. Tests leave them so."""
    name = request.param
    if name in ("tp2", "pp2", "dp2"):
        out, hf = request.getfixturevalue("two_ranks")
        return _imported(hf, out / name)
    if name not in kept:
        folder = tmp_path_factory.mktemp(name)
        hf = request.getfixturevalue("smollm2") if name == "smollm2" else make_tiny_llama(folder / "hf", name)
        kept[name] = _import(hf, folder / "root")
    return kept[name]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """One tiny model, imported with ``release=True``. Tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("tiny")
    return _import(make_tiny_llama(folder / "hf", "gqa-untied"), folder / "root")


@pytest.fixture
def hf(tiny: Imported, tmp_path: Path) -> Path:
    """A copy of the tiny model, to spoil."""
    return Path(shutil.copytree(tiny.hf, tmp_path / "hf"))


@pytest.fixture
def root(tiny: Imported, tmp_path: Path) -> Path:
    """A release to spoil."""
    return Path(shutil.copytree(tiny.root, tmp_path / "root"))


@pytest.fixture(scope="session")
def default(tiny: Imported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, imported into upstream's layout. Tests read it and leave it as it is."""
    from megatron.bridge import AutoBridge

    root = tmp_path_factory.mktemp("default") / "root"
    AutoBridge.import_ckpt(tiny.hf, root)
    return root


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model of each family, made when it is first asked for. Tests read it and leave it as it is."""
    return functools.cache(
        lambda name: save_random_model(tmp_path_factory.mktemp("family") / "hf", FAMILIES[name].config)
    )


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """A model of the same shape with other weights."""
    folder = tmp_path_factory.mktemp("other")
    return _import(make_tiny_llama(folder / "hf", "gqa-untied", seed=1), folder / "root")
