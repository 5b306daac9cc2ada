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

"""Imports of tiny models that the functional tests share: each model is converted once.

Shared, and read-only: the session fails where a test has changed one, and names it. What it takes to make one:

    ========== ====================================================================== ==========================
    tiny       a tiny Llama (`hf`) and the release made of it (`root`)                a second or two
    default    the same model in upstream's layout: iter_0000000                      as much
    other      as `tiny`, of the same shape with other weights                        as much
    families   a function: the Hugging Face folder of a family's tiny model           a blink for each name
    ========== ====================================================================== ==========================

Copies, one for each test, to spoil:

    ========== ======================================================================
    hf         the Hugging Face folder of `tiny`
    root       the release of `tiny`
    ========== ======================================================================

For fixtures alone: `shared`, which notes what must stay as it is.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from models import FAMILIES, make_tiny_llama, save_random_model
from roots import changed, stamps
from transformers import AutoConfig


@dataclass(frozen=True)
class Imported:
    """A model and the release made of it."""

    hf: Path
    root: Path
    padded_vocab_size: int


def import_release(hf: Path, root: Path) -> Imported:
    """Import a model as a release."""
    from megatron.bridge import AutoBridge

    AutoBridge.import_ckpt(hf, root, release=True)
    return described(hf, root)


def described(hf: Path, root: Path) -> Imported:
    """Say what a release that is there was made of."""
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
def tiny(shared: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """One tiny model, imported with ``release=True``. Tests read it and leave it as it is."""
    folder = tmp_path_factory.mktemp("tiny")
    made = import_release(make_tiny_llama(folder / "hf", "gqa-untied"), folder / "root")
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
    made = import_release(make_tiny_llama(folder / "hf", "gqa-untied", seed=1), folder / "root")
    shared("other", folder)
    return made
