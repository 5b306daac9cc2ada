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

"""Each model family goes from Hugging Face into Megatron-LM, with nothing typed by hand, and back."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from attention_backend import forget_attention_backend
from hf_logits import hf_logits, load_hf, wrong_logits
from hf_tensors import assert_exported
from megatron_lm import load, logits, megatron_lm
from models import FAMILIES, save_random_model
from roots import stored_args

from megatron.bridge import AutoBridge
from megatron.bridge.release.layout import FLAGS_FILE
from megatron.bridge.release.megatron_args.flag_table import ARGUMENTS


LENGTH = 1024
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# What the harness takes away on a host without CUDA, where Megatron-LM cannot run it.
SWITCHED_FOR_THE_HOST = {"moe_grouped_gemm", "moe_token_dispatcher_type"}
EP2 = "Qwen3-MoE, written and read by 2 ranks at EP=2"


class Converted(NamedTuple):
    """A family's model, its release, and what Megatron-LM's builder forgets."""

    hf: Path
    root: Path
    forgotten: tuple[str, ...] = ()


@pytest.fixture(scope="module", params=FAMILIES)
def converted(request, tmp_path_factory) -> Converted:
    """Each family's model, imported with ``release=True``."""
    family = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp("family")
    hf = save_random_model(folder / "hf", family.config)
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_attention_backend(monkeypatch)
        AutoBridge.import_ckpt(hf, folder / "root", release=True)
    return Converted(hf, folder / "root", family.forgotten)


@pytest.fixture(scope="module")
def two_ranks_experts(two_ranks) -> Converted:
    """The experts' release that two ranks wrote with half of the experts each."""
    out, _ = two_ranks
    return Converted(out / "experts", out / "ep2")


def _flags_file(converted: Converted) -> list[str]:
    return ["--load", str(converted.root), *(converted.root / "release" / FLAGS_FILE).read_text().split()]


def _note_what_is_forgotten(request: pytest.FixtureRequest, converted: Converted) -> None:
    if converted.forgotten:
        names = ", ".join(f"`{name}`" for name in converted.forgotten)
        note = f"With {names} given to Megatron-LM's builder, which does not take it from its arguments: see Limits"
        request.node.user_properties.append(("note", note))


def _assert_logits(converted: Converted, flags: list[str], device: str) -> None:
    """Compare in float32, where a difference is one of the function and not of the rounding."""
    hf = load_hf(converted.hf)
    torch.manual_seed(1)
    tokens = torch.randint(hf.config.vocab_size, (1, LENGTH))
    with megatron_lm([flag for flag in flags if flag != "--bf16"], device) as args:
        model, _ = load(args, **{name: getattr(args, name) for name in converted.forgotten})
        found = logits(model, tokens)[..., : hf.config.vocab_size]
    assert wrong_logits(found, hf_logits(hf, tokens)) == []


@pytest.mark.cell("family", row="converted", column="`megatron_lm_args.txt` and `--use-checkpoint-args`")
@pytest.mark.parametrize("device", DEVICES)
def test_use_checkpoint_args_matches_source_model_logits(request, converted, device, monkeypatch):
    _note_what_is_forgotten(request, converted)
    forget_attention_backend(monkeypatch)
    _assert_logits(converted, [*_flags_file(converted), "--use-checkpoint-args"], device)


@pytest.mark.cell("family", row="converted", column="`megatron_lm_args.txt` alone")
@pytest.mark.parametrize("device", DEVICES)
def test_flags_file_matches_source_model_logits(request, converted, device, monkeypatch):
    _note_what_is_forgotten(request, converted)
    forget_attention_backend(monkeypatch)
    _assert_logits(converted, _flags_file(converted), device)


def test_stored_args_match_parsed_flags(converted, monkeypatch):
    forget_attention_backend(monkeypatch)
    stored = stored_args(converted.root)
    with megatron_lm(_flags_file(converted)) as parsed:
        for name in {argument.name for argument in ARGUMENTS} - SWITCHED_FOR_THE_HOST | {"params_dtype"}:
            assert getattr(stored, name) == getattr(parsed, name), name


@pytest.mark.cell("family", row="converted", column="exported again, bit for bit")
def test_export_matches_source_model_bit_for_bit(converted, tmp_path, monkeypatch):
    forget_attention_backend(monkeypatch)
    assert_exported(converted.hf, converted.root, tmp_path / "hf")


@pytest.mark.cell("family", row=EP2, column="`megatron_lm_args.txt` and `--use-checkpoint-args`")
def test_two_ranks_share_experts_with_use_checkpoint_args(two_ranks):
    out, _ = two_ranks
    assert json.loads((out / "reads.json").read_text())["megatron_lm ep2, use_checkpoint_args"] == []


@pytest.mark.cell("family", row=EP2, column="`megatron_lm_args.txt` alone")
def test_two_ranks_share_experts_with_the_flags_file(two_ranks):
    out, _ = two_ranks
    assert json.loads((out / "reads.json").read_text())["megatron_lm ep2, flags file"] == []


@pytest.mark.cell("family", row=EP2, column="`megatron_lm_args.txt` alone")
def test_single_rank_reads_experts_written_by_two_ranks(two_ranks_experts, monkeypatch):
    forget_attention_backend(monkeypatch)
    _assert_logits(two_ranks_experts, _flags_file(two_ranks_experts), "cpu")


@pytest.mark.cell("family", row=EP2, column="exported again, bit for bit")
def test_export_of_two_rank_release_matches_bit_for_bit(two_ranks_experts, tmp_path, monkeypatch):
    forget_attention_backend(monkeypatch)
    assert_exported(two_ranks_experts.hf, two_ranks_experts.root, tmp_path / "hf")
