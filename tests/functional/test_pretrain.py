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

"""The README's command on Megatron-LM's own `pretrain`: it loads Hugging Face's model, trains, evaluates, saves, resumes."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron_lm import TRAINED_LOCALLY, load, logits, megatron_lm, release_flags
from model_record import TOKENS
from training_runs import SHORT, SUPPORT, factor_matters, loaded_differences, losses, make_llama, readme_command, run

from megatron.bridge import AutoBridge
from megatron.bridge.release.layout import FLAGS_FILE, TRACKER
from megatron.bridge.release.rope_factor import BUILT_FACTOR, ENTRY_POINT_FLAG
from megatron.bridge.release.verify.dcp_metadata import read_args


class Training(NamedTuple):
    """A model that was trained with the README's command, twice."""

    hf: Path
    root: Path
    factor: float | None
    record: Path
    outputs: tuple[str, str]


@pytest.fixture(scope="module", params=[None, 32.0], ids=["plain", "factor 32"])
def training(request, tmp_path_factory) -> Training:
    """Import, and run the command of the README twice, three iterations each."""
    folder = tmp_path_factory.mktemp("training")
    hf = make_llama(folder / "hf", factor=request.param, dtype=torch.float32)
    root = folder / "root"
    AutoBridge.import_ckpt(hf, root, release=True)
    outputs = []
    for record in ("first.pt", "second.pt"):
        done = run(readme_command(root), SHORT, cwd=SUPPORT, record=folder / record)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        outputs.append(done.stdout)
    return Training(hf, root, request.param, folder / "first.pt", (outputs[0], outputs[1]))


def test_megatron_lm_loads_the_model_of_hugging_face(training):
    assert loaded_differences(training.record, training.hf) == []
    assert torch.load(training.record)["iteration"] == 0
    assert training.factor is None or factor_matters(training.hf)


def test_megatron_lm_trains_evaluates_saves_and_resumes(training):
    first, second = map(losses, training.outputs)
    assert (list(first), list(second)) == ([1, 2, 3], [4, 5, 6])
    assert all(" validation loss at iteration" in output for output in training.outputs)
    assert torch.load(training.record.with_name("second.pt"))["iteration"] == 3
    assert (training.root / TRACKER).read_text() == "6"
    names = {path.name for path in training.root.iterdir() if path.is_dir()}
    assert names == {"release", "iter_0000003", "iter_0000006"}


def test_training_saves_built_rope_scaling_factor(training):
    assert read_args(training.root / "iter_0000006").get(BUILT_FACTOR) == training.factor


def test_export_matches_logits_of_trained_model(training, tmp_path):
    AutoBridge.from_hf_pretrained(training.hf).export_ckpt(training.root, tmp_path / "hf", show_progress=False)
    with megatron_lm([*release_flags(training.root), *TRAINED_LOCALLY]) as args:
        forgotten = {} if training.factor is None else {"rope_scaling_factor": training.factor}
        model, iteration = load(args, **forgotten)
        found = logits(model, TOKENS)[..., : load_hf(training.hf).config.vocab_size]
    assert iteration == 6
    assert wrong_logits(hf_logits(load_hf(tmp_path / "hf"), TOKENS), found) == []
    assert float((hf_logits(load_hf(training.hf), TOKENS) - found).abs().max()) > 1e-3, (
        "the training changed the model"
    )


@pytest.mark.parametrize(
    "training", [None, pytest.param(32.0, marks=pytest.mark.exhaustive)], ids=["plain", "factor 32"], indirect=True
)
def test_resumed_training_keeps_changed_arguments(training, tmp_path):
    """The README's command with other flags of the model, and then without them."""
    root = shutil.copytree(training.root / "release", tmp_path / "root/release").parent
    (root / TRACKER).write_text("release")
    changes = ("--rotary-base", "70000", "--norm-epsilon", "1e-3")
    for flags, iteration in ((changes, 3), ((), 6)):
        done = run(readme_command(root), (*SHORT, *flags), cwd=SUPPORT)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert (root / TRACKER).read_text() == str(iteration)
        args = read_args(root / f"iter_000000{iteration}")
        assert (args["rotary_base"], args["layernorm_epsilon"]) == (70000, 1e-3)
    assert "layernorm_epsilon=0.001 (release: " in done.stderr and "rotary_base=70000 (release: " in done.stderr


def test_plain_script_rejects_flags_with_rope_scaling_factor(training):
    flags = (training.root / "release" / FLAGS_FILE).read_text().split()
    done = run("torchrun pretrain_gpt.py", (*flags, "--no-such-flag"), cwd=SUPPORT)
    (error,) = re.findall(r"error: (unrecognized arguments: .*)", done.stderr)
    assert done.returncode != 0 and (ENTRY_POINT_FLAG in error) == (training.factor is not None)
