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

"""Imports that the functional tests share: each model is converted once.

Shared, and read-only: the session fails where a test has changed one, and names it. What it takes to make one:

    ========== ====================================================================== ==========================
    tiny       a tiny Llama (`hf`) and the release made of it (`root`)                a second or two
    default    the same model in upstream's layout: iter_0000000                      as much
    other      as `tiny`, of the same shape with other weights                        as much
    families   a function: the Hugging Face folder of a family's tiny model           a blink for each name
    imported   as `tiny`, for each of several models in turn, and for tp2, pp2, dp2:  half a minute, two_ranks
               a test that has it runs once for each                                  among it
    two_ranks  what `parallel_worker.py` wrote on two ranks, and its model            25 seconds: one torchrun
    smollm2    a real Llama of 135 million parameters (tests/conftest.py)             two seconds, once it is made
    ========== ====================================================================== ==========================

Copies, one for each test, to spoil:

    ========== ======================================================================
    hf         the Hugging Face folder of `tiny`
    root       the release of `tiny`
    ========== ======================================================================

For these fixtures alone: `kept`, which has what `imported` has made; `shared`, which notes what must stay as it is.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from models import FAMILIES, ODD_LLAMA, TINY_LLAMAS, make_tiny_llama, save_random_model
from roots import changed, stamps
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
def shared() -> Iterator[Callable[[str, Path], Path]]:
    """Note a folder that tests share; at the end of the session each must be as it was."""
    noted: dict[str, tuple[Path, dict[str, tuple[int, int]]]] = {}

    def note(name: str, folder: Path) -> Path:
        noted.setdefault(name, (folder, stamps(folder)))
        return folder

    yield note
    files = {name: changed(before, stamps(folder)) for name, (folder, before) in noted.items()}
    wrong = [f"{name} ({', '.join(of_it)})" for name, of_it in files.items() if of_it]
    assert not wrong, f"tests of this session changed what is shared: {'; '.join(wrong)}"


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
    request: pytest.FixtureRequest,
    kept: dict[str, Imported],
    shared: Callable[[str, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Imported:
    """Each model in turn, imported with ``release=True``; and one model as two ranks wrote it. Tests leave them so."""
    name = request.param
    if name in ("tp2", "pp2", "dp2"):
        out, hf = request.getfixturevalue("two_ranks")
        return _imported(hf, shared(f"imported[{name}]", out / name))
    if name not in kept:
        folder = tmp_path_factory.mktemp(name)
        hf = request.getfixturevalue("smollm2") if name == "smollm2" else make_tiny_llama(folder / "hf", name)
        kept[name] = _import(hf, folder / "root")
        shared(f"imported[{name}]", folder)
    return kept[name]


@pytest.fixture(scope="session")
def tiny(shared: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """One tiny model, imported with ``release=True``. Tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("tiny")
    made = _import(make_tiny_llama(folder / "hf", "gqa-untied"), folder / "root")
    shared("tiny", folder)
    return made


@pytest.fixture
def hf(tiny: Imported, tmp_path: Path) -> Path:
    """A copy of the tiny model, to spoil."""
    return Path(shutil.copytree(tiny.hf, tmp_path / "hf"))


@pytest.fixture
def root(tiny: Imported, tmp_path: Path) -> Path:
    """A release to spoil."""
    return Path(shutil.copytree(tiny.root, tmp_path / "root"))


@pytest.fixture(scope="session")
def default(tiny: Imported, shared: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, imported into upstream's layout. Tests read it and leave it as it is."""
    from megatron.bridge import AutoBridge

    root = tmp_path_factory.mktemp("default") / "root"
    AutoBridge.import_ckpt(tiny.hf, root)
    return shared("default", root)


@pytest.fixture(scope="session")
def families(shared: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model of each family, made when it is first asked for. Tests read it and leave it as it is."""

    @functools.cache
    def make(name: str) -> Path:
        hf = save_random_model(tmp_path_factory.mktemp("family") / "hf", FAMILIES[name].config)
        return shared(f"families({name!r})", hf)

    return make


@pytest.fixture(scope="session")
def other(shared: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """A model of the same shape with other weights. Tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("other")
    made = _import(make_tiny_llama(folder / "hf", "gqa-untied", seed=1), folder / "root")
    shared("other", folder)
    return made
