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

"""What Megatron-LM does with a launch that is not quite right, and that a release keeps its users from it.

Each test shows the trap, in Megatron-LM's own code, beside what the release and its flags do. Elsewhere:
test_matrix.py (readers before core 0.19 and their quirks), test_bridge_readers.py (Bridge's readers),
test_any_host.py (hosts without CUDA), test_te_keys.py (Transformer Engine's entries).
"""

import shutil
from pathlib import Path

import pytest
import torch
from expected_errors import raises
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from megatron.core.enums import ModelType
from megatron.training.argument_utils import gpt_config_from_args
from megatron.training.training import setup_model_and_optimizer
from megatron_lm import build, load, logits, megatron_lm, release_flags
from models import FAMILIES, make_tiny_llama, save_random_model
from roots import stored_args
from torch.distributed.checkpoint.api import CheckpointException

from megatron.bridge import AutoBridge
from megatron.bridge.release.errors import InvalidTrackerError
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.utils.single_process import conversion_process_group


TRAINING = ["--clip-grad", "0"]
TOKENS = torch.arange(64)[None]


@pytest.fixture(scope="module")
def qk_norm(tmp_path_factory) -> tuple[Path, Path]:
    """A Hugging Face Qwen3, which has norms for queries and keys, and its release."""
    folder = tmp_path_factory.mktemp("qk_norm")
    hf = save_random_model(folder / "hf", FAMILIES["Qwen3 (qk-norm)"].config)
    AutoBridge.import_ckpt(hf, folder / "root", release=True)
    return hf, folder / "root"


def _megatron(flags: list[str]) -> torch.Tensor:
    with megatron_lm(flags) as args:
        model, _ = load(args)
        return logits(model, TOKENS)


def _hugging_face(hf: Path) -> torch.Tensor:
    return hf_logits(load_hf(hf), TOKENS)


def _agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return not wrong_logits(found[..., : expected.shape[-1]], expected)


def _start_training(flags: list[str]) -> int:
    """Load model, optimizer and scheduler, as a training run does."""
    with megatron_lm([*flags, *TRAINING]) as args:
        setup_model_and_optimizer(ModelType.encoder_or_decoder, lambda pre_process, post_process, **_: build(args))
        return args.iteration


def test_iteration_0_needs_an_optimizer_and_a_release_none(tiny, default):
    assert (default / TRACKER).read_text() == "0"
    with pytest.raises(CheckpointException, match="optimizer.state.exp_avg"):
        _start_training(release_flags(tiny.root, load_from=default))
    assert _start_training(release_flags(tiny.root)) == 0


def test_common_state_has_fields_required_before_core_0_16(tiny):
    args = stored_args(tiny.root)
    assert (args.tensor_model_parallel_size, args.pipeline_model_parallel_size) == (1, 1)
    assert (args.iteration, args.consumed_train_samples, args.no_save_optim, args.no_save_rng) == (0, 0, True, True)


def test_common_pt_matches_embedded_common_state(tiny, tmp_path):
    shutil.copytree(tiny.root / "release", tmp_path / "release")
    with conversion_process_group():
        with_it = load_common_state_dict(str(tmp_path / "release"))
        (tmp_path / "release/common.pt").unlink()
        without_it = load_common_state_dict(str(tmp_path / "release"))
    assert with_it == without_it and "args" in with_it


def test_common_state_loads_with_weights_only(tiny):
    found = torch.serialization.get_unsafe_globals_in_checkpoint(tiny.root / "release/common.pt")
    # Every Megatron-LM from core 0.14 on declares it safe; torch itself does not.
    assert set(found) <= {"argparse.Namespace"}


def test_use_checkpoint_args_restores_part_and_flags_the_rest(qk_norm):
    hf, root = qk_norm
    with megatron_lm(["--load", str(root), "--use-checkpoint-args"]) as args:
        assert args.num_layers == 2 and not args.qk_layernorm
    assert _agree(_megatron([*release_flags(root), "--use-checkpoint-args"]), _hugging_face(hf))


def test_use_checkpoint_args_reads_the_tokenizer_of_the_release(tiny):
    command_line = ["--tokenizer-type", "SFTTokenizer", "--use-checkpoint-args"]
    with megatron_lm([*release_flags(tiny.root), *command_line]) as args:
        assert args.tokenizer_type == "HuggingFaceTokenizer"
        assert args.tokenizer_model == str(tiny.root / "release/tokenizer")
    with megatron_lm(
        [*release_flags(tiny.root), *command_line, "--no-use-tokenizer-model-from-checkpoint-args"]
    ) as args:
        assert args.tokenizer_type == "SFTTokenizer"
    assert not any("tokenizer" in flag for flag in release_flags(tiny.root)[: -len(["--load", "", ""])])


def test_missing_qk_layernorm_is_ignored_unless_raise_all(qk_norm):
    hf, root = qk_norm
    wrong = release_flags(root, without=("--qk-layernorm",))
    assert not _agree(_megatron(wrong), _hugging_face(hf))
    strict = ["--dist-ckpt-strictness", "raise_all"]
    with pytest.raises(CheckpointingException) as refused:
        _megatron([*wrong, *strict])
    assert "q_layernorm.weight" in str(refused.value) and "k_layernorm.weight" in str(refused.value)
    # The right model takes every entry.
    assert _agree(_megatron([*release_flags(root), *strict]), _hugging_face(hf))


@pytest.mark.parametrize("size", [384, 640])
def test_wrong_vocabulary_is_cut_or_zero_filled_silently(tiny, size):
    expected = _hugging_face(tiny.hf)
    assert expected.shape[-1] == 512
    wrong = [*release_flags(tiny.root, without=("--vocab-size", "--padded-vocab-size")), "--vocab-size", str(size)]
    with megatron_lm(wrong) as args:
        model, _ = load(args)
        rows = model.state_dict()["embedding.word_embeddings.weight"]
    assert len(rows) == size and not rows[512:].any()
    assert _agree(_megatron(release_flags(tiny.root)), expected)


@pytest.mark.parametrize("wrong", [["--norm-epsilon", "1e-3"], ["--rotary-base", "500000"]])
def test_megatron_lm_accepts_wrong_norm_epsilon_or_rotary_base(tiny, wrong):
    expected = _hugging_face(tiny.hf)
    strict = ["--dist-ckpt-strictness", "raise_unexpected"]
    assert not _agree(_megatron([*release_flags(tiny.root), *strict, *wrong]), expected)
    assert _agree(_megatron([*release_flags(tiny.root), *strict]), expected)


def test_megatron_lms_builder_ignores_the_rope_scaling_factor(tmp_path):
    hf = save_random_model(tmp_path / "hf", FAMILIES["Llama 3.2 (rope scaling, tied)"].config)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    with megatron_lm(release_flags(tmp_path / "root")) as args:
        assert args.rope_scaling_factor == 32
        assert gpt_config_from_args(args).rope_scaling_factor == 8


def test_megatron_lm_accepts_missing_rope_scaling(tmp_path):
    hf = make_tiny_llama(tmp_path / "hf", "llama3-rope")
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    expected = _hugging_face(hf)
    assert not _agree(_megatron(release_flags(tmp_path / "root", without=("--use-rope-scaling",))), expected)
    assert _agree(_megatron(release_flags(tmp_path / "root")), expected)


def test_torn_tracker_is_an_error_in_bridge_only(tiny, tmp_path):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    (root / TRACKER).write_text("relea")
    with pytest.raises(SystemExit) as end:
        _megatron(release_flags(root))
    assert not end.value.code
    with raises(InvalidTrackerError(str(root / TRACKER), "relea")):
        AutoBridge.from_hf_pretrained(tiny.hf).load_megatron_model(root)


def test_missing_checkpoint_is_ignored_without_the_exit_flag(tiny, tmp_path):
    flags = release_flags(tiny.root, load_from=tmp_path)
    assert not _agree(
        _megatron([flag for flag in flags if flag != "--exit-on-missing-checkpoint"]), _hugging_face(tiny.hf)
    )
    with pytest.raises(SystemExit):
        _megatron(flags)
