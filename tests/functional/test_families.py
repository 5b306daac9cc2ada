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
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from megatron_lm import load, logits, megatron_lm
from models import FAMILIES, LOGITS_BOUND, save_random_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from megatron.bridge import AutoBridge
from megatron.bridge.training.release.args_table import ARGUMENTS
from megatron.bridge.utils.host import has_transformer_engine
from megatron.bridge_release.layout import FLAGS_FILE


LENGTH = 1024
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# What the harness takes away on a host without CUDA, where Megatron-LM cannot run it.
SWITCHED_FOR_THE_HOST = {"moe_grouped_gemm", "moe_token_dispatcher_type"}
EP2 = "Qwen3-MoE, written and read by 2 ranks at EP=2"


class Converted(NamedTuple):
    """A family's model, its release, what its import printed, and what Megatron-LM's builder forgets."""

    hf: Path
    root: Path
    printed: list[str]
    forgotten: tuple[str, ...] = ()


def _reset_attention_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megatron Core remembers a model's attention backend in the environment and refuses another model's."""
    for name in ("NVTE_FLASH_ATTN", "NVTE_FUSED_ATTN", "NVTE_UNFUSED_ATTN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module", params=FAMILIES)
def converted(request, tmp_path_factory) -> Converted:
    """Each family's model, imported with ``release=True``."""
    family = FAMILIES[request.param]
    if family.needs and not (has_transformer_engine() and "Transformer Engine" in family.needs):
        pytest.skip(family.needs)
    folder = tmp_path_factory.mktemp("family")
    hf = save_random_model(folder / "hf", family.config)
    with pytest.MonkeyPatch.context() as monkeypatch:
        _reset_attention_environment(monkeypatch)
        lines: list[str] = []
        monkeypatch.setattr("builtins.print", lambda *words, **_: lines.extend(str(words[0]).splitlines()))
        AutoBridge.import_ckpt(hf, folder / "root", release=True)
    (command,) = [line for line in lines if line.startswith("  --load ")]
    return Converted(hf, folder / "root", shlex.split(command), family.forgotten)


@pytest.fixture(scope="module")
def two_ranks_experts(two_ranks) -> Converted:
    """The experts' release that two ranks wrote with half of the experts each."""
    out, _ = two_ranks
    return Converted(out / "experts", out / "ep2", [])


def _flags_file(converted: Converted) -> list[str]:
    return ["--load", str(converted.root), *(converted.root / "release" / FLAGS_FILE).read_text().split()]


def _note_what_is_forgotten(request: pytest.FixtureRequest, converted: Converted) -> None:
    if converted.forgotten:
        names = ", ".join(f"`{name}`" for name in converted.forgotten)
        note = f"With {names} given to Megatron-LM's builder, which does not take it from its arguments: see Limits"
        request.node.user_properties.append(("note", note))


def _assert_logits(converted: Converted, flags: list[str], device: str) -> None:
    """Compare in float32, where a difference is one of the function and not of the rounding."""
    hf = AutoModelForCausalLM.from_pretrained(converted.hf, dtype=torch.float32).eval()
    torch.manual_seed(1)
    tokens = torch.randint(hf.config.vocab_size, (1, LENGTH))
    with torch.no_grad():
        expected = hf(tokens).logits
    with megatron_lm([flag for flag in flags if flag != "--bf16"], device) as args:
        model, _ = load(args, **{name: getattr(args, name) for name in converted.forgotten})
        found = logits(model, tokens)[..., : hf.config.vocab_size]
    torch.testing.assert_close(found, expected, rtol=0, atol=LOGITS_BOUND * float(expected.abs().max()))


def _assert_export(converted: Converted, tmp_path: Path) -> None:
    AutoBridge.from_hf_pretrained(converted.hf).export_ckpt(converted.root, tmp_path / "hf", show_progress=False)
    expected, found = (load_file(folder / "model.safetensors") for folder in (converted.hf, tmp_path / "hf"))
    assert found.keys() == expected.keys()
    assert [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)] == []


@pytest.mark.cell("family", row="converted", column="`--use-checkpoint-args` and the printed flags")
@pytest.mark.parametrize("device", DEVICES)
def test_the_printed_flags_give_hugging_faces_logits(request, converted, device, monkeypatch):
    _note_what_is_forgotten(request, converted)
    _reset_attention_environment(monkeypatch)
    assert "--use-checkpoint-args" in converted.printed and "--bf16" in converted.printed
    _assert_logits(converted, converted.printed, device)


@pytest.mark.cell("family", row="converted", column="`megatron_lm_args.txt` alone")
@pytest.mark.parametrize("device", DEVICES)
def test_the_flags_file_alone_gives_hugging_faces_logits(request, converted, device, monkeypatch):
    _note_what_is_forgotten(request, converted)
    _reset_attention_environment(monkeypatch)
    _assert_logits(converted, _flags_file(converted), device)


def test_the_args_are_what_megatron_lms_parser_makes_of_the_flags(converted, monkeypatch):
    _reset_attention_environment(monkeypatch)
    stored = torch.load(converted.root / "release/common.pt", weights_only=True)["args"]
    with megatron_lm(_flags_file(converted)) as parsed:
        for name in {argument.name for argument in ARGUMENTS} - SWITCHED_FOR_THE_HOST | {"params_dtype"}:
            assert getattr(stored, name) == getattr(parsed, name), name


@pytest.mark.cell("family", row="converted", column="exported again, bit for bit")
def test_the_export_is_the_model_bit_for_bit(converted, tmp_path, monkeypatch):
    _reset_attention_environment(monkeypatch)
    _assert_export(converted, tmp_path)


@pytest.mark.cell("family", row=EP2, column="`--use-checkpoint-args` and the printed flags")
def test_two_ranks_read_half_of_the_experts_each_with_the_printed_flags(two_ranks):
    out, _ = two_ranks
    assert json.loads((out / "reads.json").read_text())["megatron_lm ep2, printed flags"] == []


@pytest.mark.cell("family", row=EP2, column="`megatron_lm_args.txt` alone")
def test_two_ranks_read_half_of_the_experts_each_with_the_flags_file(two_ranks):
    out, _ = two_ranks
    assert json.loads((out / "reads.json").read_text())["megatron_lm ep2, flags file"] == []


@pytest.mark.cell("family", row=EP2, column="`megatron_lm_args.txt` alone")
def test_one_rank_reads_all_of_the_experts(two_ranks_experts, monkeypatch):
    _reset_attention_environment(monkeypatch)
    _assert_logits(two_ranks_experts, _flags_file(two_ranks_experts), "cpu")


@pytest.mark.cell("family", row=EP2, column="exported again, bit for bit")
def test_what_two_ranks_wrote_is_exported_bit_for_bit(two_ranks_experts, tmp_path, monkeypatch):
    _reset_attention_environment(monkeypatch)
    _assert_export(two_ranks_experts, tmp_path)
