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

"""Every current megatron-core reads what this fork writes. `make matrix` runs all of it, `make test` a part."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from models import make_tiny_llama
from smollm2 import CACHED
from workers import run_worker

from megatron.bridge import AutoBridge


# The first of these is the oldest that Megatron-LM's users still run; the last is the one installed.
VERSIONS = ("0.14.0", "0.15.3", "0.16.1", "0.17.1", "0.18.2", "0.19.2")
# What `make test` reads with, besides the one installed: the oldest.
SMALL_PART = ("0.14.0",)
MODELS = ("padded-vocabulary", "llama3-rope")
LAYOUTS = ("TP=1 PP=1", "TP=2 PP=1", "TP=1 PP=2", "TP=2 PP=2")
# By how many ranks it takes.
TENSOR_PARALLEL = {4: ("TP=1 PP=1", "TP=2 PP=1", "TP=4 PP=1"), 8: ("TP=8 PP=1",)}


def _core(version: str) -> Path:
    """Unpack one megatron-core into a folder of its own, beside the other things that take long to fetch."""
    folder = CACHED.parent / f"megatron-core-{version}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            target = Path(scratch) / "core"
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
            subprocess.run([*command, f"megatron-core=={version}"], check=True, timeout=300)
            os.rename(target, folder)
    return folder


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Tied and untied embeddings, rope scaling, and a vocabulary that Megatron-LM pads."""
    folders = [tmp_path_factory.mktemp("matrix") / name for name in MODELS]
    return [_import(folder, folder.name) for folder in folders]


def _import(folder: Path, name: str) -> Path:
    AutoBridge.import_ckpt(make_tiny_llama(folder / "hf", name), folder / "root", release=True)
    return folder


def _read(core: str, ranks: int, layouts: tuple[str, ...], folders: list[Path], out: Path) -> dict:
    """Tell what `matrix_worker.py` finds with one megatron-core."""
    words = (ranks, out, ",".join(layouts), *folders)
    if core == VERSIONS[-1]:
        run_worker("matrix_worker", *words, OMP_NUM_THREADS="1")
    else:
        path = f"{_core(core)}:{os.environ.get('PYTHONPATH', '')}"
        run_worker("matrix_worker", *words, anew=True, OMP_NUM_THREADS="1", PYTHONPATH=path)
    outcome = json.loads(out.read_text())
    assert outcome["core"] == core
    return outcome


@pytest.fixture(scope="module")
def outcome(request: pytest.FixtureRequest, releases: list[Path], tmp_path_factory) -> dict:
    """What four ranks find with one megatron-core."""
    return _read(request.param, 4, LAYOUTS, releases, tmp_path_factory.mktemp("outcome") / "out.json")


def _versions(versions: tuple[str, ...] = VERSIONS) -> list:
    return [
        pytest.param(version, id=version, marks=[] if version in SMALL_PART else pytest.mark.matrix)
        for version in versions
    ]


@pytest.mark.cell("megatron-core", row="outcome", column="layout")
@pytest.mark.parametrize("outcome", _versions(), indirect=True)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_and_logits_match_in_every_core_version(outcome, layout):
    assert outcome["differences"][layout] == []


@pytest.mark.parametrize("outcome", _versions(), indirect=True)
def test_load_checkpoint_reads_release_since_core_0_17(outcome):
    has_loader = tuple(map(int, outcome["core"].split("."))) >= (0, 17, 0)
    assert outcome["reader"] == ("load_checkpoint" if has_loader else "dist_checkpointing.load")


@pytest.fixture(scope="module")
def eight_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of as many heads, whose 500 words no tensor-parallel size of 8 divides."""
    return _import(tmp_path_factory.mktemp("eight_heads"), "eight-heads")


# Two cores take minutes to start eight ranks.
@pytest.mark.parametrize("ranks", [4, pytest.param(8, marks=pytest.mark.matrix)])
def test_vocabulary_is_padded_with_zeros_at_any_tp(eight_heads, ranks):
    layouts = TENSOR_PARALLEL[ranks]
    outcome = _read(VERSIONS[-1], ranks, layouts, [eight_heads], eight_heads / "out.json")
    assert outcome["differences"] == {layout: [] for layout in layouts}
