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

"""`check --compute` tells a release that computes what its model does from one that does not."""

import json
import os
import resource
import shutil
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from attention_backend import forget_attention_backend
from expected_errors import Containing, raises
from megatron.core import parallel_state
from megatron.training import global_vars
from models import FAMILIES, TINY_LLAMAS, make_tiny_llama, save_random_model
from odd_models import change_config
from roots import change_args, shard
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, PretrainedConfig, Qwen3MoeConfig

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.errors import NotComputableError
from megatron.bridge.release.layout import FLAGS_FILE
from megatron.bridge.release.manifest import write_manifest
from megatron.bridge.release.verify.comparison_findings import TOLERANCE, LogitComparison
from megatron.bridge.release.verify.errors import ContradictingArgsError, ModelTensorsError, RejectedReleaseError
from megatron.bridge.release.verify.hf_model import HuggingFaceModel
from megatron.bridge.release.verify.logits import POSITIONS, compare_logits, plan_logit_check
from megatron.bridge.release.verify.megatron_model import per_layer


_OWN_MEMORY = 1 << 30


def _import(folder: Path, config: PretrainedConfig) -> tuple[Path, Path]:
    hf = save_random_model(folder / "hf", config)
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_attention_backend(monkeypatch)
        AutoBridge.import_ckpt(hf, folder / "root", release=True)
    return hf, folder / "root"


def _flags(root: Path, change: dict[str, str | None]) -> None:
    """Give flags other values; None leaves them out."""
    file = root / "release" / FLAGS_FILE
    lines = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in change]
    lines += [flag + value for flag, value in change.items() if value is not None]
    file.write_text("".join(f"{line}\n" for line in lines))
    write_manifest(root / "release")


def _assert_matches(comparison: LogitComparison, layers: int, positions: int = POSITIONS) -> None:
    assert comparison.skipped is None and comparison.matches, comparison
    assert (comparison.layers, comparison.total_layers, comparison.positions) == (layers, layers, positions)
    # Where one computes in another order, the numbers are seen to be two computations'.
    assert 0 <= comparison.difference < TOLERANCE and comparison.top1_matches == positions


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_of_each_family_match(name, tmp_path):
    hf, root = _import(tmp_path, FAMILIES[name].config)
    before = dict(os.environ)
    comparison = compare_logits(root, hf)
    _assert_matches(comparison, 2)
    # Nothing of Megatron-LM is left behind.
    assert dict(os.environ) == before
    assert not dist.is_initialized() and not parallel_state.is_initialized()
    with pytest.raises(AssertionError):
        global_vars.get_args()


def _config(family: str, **changes: Any) -> PretrainedConfig:
    config = FAMILIES[family].config
    return type(config)(**config.to_diff_dict() | changes)


_LLAMA, _EXPERTS = "Llama 2", "Qwen3-MoE (experts, qk-norm)"


@pytest.mark.parametrize(
    "config",
    [
        _config(_LLAMA, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, vocab_size=7),
        _config(_LLAMA, hidden_size=36, head_dim=10, intermediate_size=13, num_key_value_heads=1),
        _config(_LLAMA, head_dim=2, max_position_embeddings=16),
        _config("Mistral", sliding_window=1),
        _config(_EXPERTS, moe_intermediate_size=17, num_local_experts=3),
        _config(_EXPERTS, moe_intermediate_size=8, num_local_experts=32, num_experts_per_tok=32, num_hidden_layers=1),
        _config(_EXPERTS, num_local_experts=1, num_experts_per_tok=1, norm_topk_prob=False),
    ],
    ids=["one of each", "odd", "small heads", "window 1", "odd experts", "all experts", "one expert"],
)
def test_logits_of_odd_sizes_match(config, tmp_path):
    hf, root = _import(tmp_path, config)
    _assert_matches(compare_logits(root, hf), config.num_hidden_layers)


@pytest.mark.parametrize("name", TINY_LLAMAS)
def test_logits_of_each_tiny_llama_match(name, tmp_path):
    hf = make_tiny_llama(tmp_path / "hf", name)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    _assert_matches(compare_logits(tmp_path / "root", hf), 2)


def test_existing_process_group_is_kept(tiny):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        _assert_matches(compare_logits(tiny.root, tiny.hf), 2)
        assert dist.is_initialized() and not parallel_state.is_initialized()
    finally:
        dist.destroy_process_group()


def test_logit_check_plan_covers_each_layer_type(tmp_path):
    config = FAMILIES["Qwen3-MoE (experts, qk-norm)"].config.to_diff_dict()
    config |= dict(num_hidden_layers=5, mlp_only_layers=[0, 1])
    hf = HuggingFaceModel(str(save_random_model(tmp_path / "hf", Qwen3MoeConfig(**config))))
    dense, _, experts, *_ = kinds = hf.kinds()
    assert dense != experts and kinds == [dense, dense, experts, experts, experts]
    assert per_layer(Namespace(num_layers=4, no_rope_freq=[0, 0, 0, 1])) == [(0,), (0,), (0,), (1,)]
    assert per_layer(Namespace(num_layers=4, window_attn_skip_freq=2, moe_layer_freq=1)) == [(0,), (1,), (0,), (1,)]
    for memory in range(_OWN_MEMORY, _OWN_MEMORY + (1 << 26), 1 << 16):
        with suppress(NotComputableError):
            assert plan_logit_check(hf, kinds, [], None, memory).layers == 3
            break
    else:
        pytest.fail("no memory was enough")


def test_layers_are_limited_by_memory(tmp_path):
    sizes = dict(hidden_size=64, intermediate_size=4096, num_hidden_layers=6, num_attention_heads=4, head_dim=16)
    hf, root = _import(tmp_path, LlamaConfig(**sizes | TINY_LLAMAS["gqa-untied"]))
    layer = 4 * (3 * 64 * 4096 + 12288 + 128)
    rest = 4 * (2 * 512 * 64 + 3 * POSITIONS * 512 + 4 * 4 * POSITIONS**2 + 16 * POSITIONS * 64)
    comparison = compare_logits(root, hf, memory=_OWN_MEMORY + rest + 5 * layer // 2)
    assert (comparison.layers, comparison.total_layers, comparison.matches) == (2, 6, True)
    comparison = compare_logits(root, hf, memory=_OWN_MEMORY + rest + layer)
    assert not comparison.matches and comparison.difference == float("inf")
    assert comparison.skipped == "its first 2 layers need 1,037 MiB of memory, 1,033 MiB are available"
    _assert_matches(compare_logits(root, hf), 6)


def test_sliding_window_is_tested_or_named(tmp_path):
    config = FAMILIES["Mistral (sliding window)"].config.to_diff_dict() | dict(sliding_window=300)
    hf, root = _import(tmp_path, type(FAMILIES["Mistral"].config)(**config))
    comparison = compare_logits(root, hf)
    _assert_matches(comparison, 2, 364)
    assert comparison.notes == ()
    comparison = compare_logits(root, hf, positions=64)
    assert comparison.matches and comparison.positions == 64
    assert [(note.feature, note.length) for note in comparison.notes] == [("sliding window", 300)]
    # Without its window it is seen to be another model at the positions beyond, and at those alone.
    _flags(root, {"--window-size": None})
    assert not compare_logits(root, hf).matches
    assert compare_logits(root, hf, positions=64).matches


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_source_weights_are_cast_as_in_the_import(hf, tmp_path, monkeypatch, dtype):
    tensors = load_file(hf / "model.safetensors")
    wider = {name: tensor.float() * 1.001 for name, tensor in tensors.items()}
    save_file(wider, hf / "model.safetensors", metadata={"format": "pt"})
    forget_attention_backend(monkeypatch)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, dtype=getattr(torch, dtype))
    comparison = compare_logits(tmp_path / "root", hf)
    _assert_matches(comparison, 2)
    assert [(note.hf_model, note.dtype) for note in comparison.notes] == [(str(hf), dtype)]
    # Another model's are not taken for rounded ones.
    save_file(wider | {"model.norm.weight": wider["model.norm.weight"] * 1.01}, hf / "model.safetensors")
    assert not compare_logits(tmp_path / "root", hf).matches


def test_single_different_tensor_is_found(tiny, hf, other):
    name = "model.layers.1.self_attn.v_proj.weight"
    tensors, others = (load_file(folder / "model.safetensors") for folder in (tiny.hf, other.hf))
    save_file(tensors | {name: others[name]}, hf / "model.safetensors", metadata={"format": "pt"})
    comparison = compare_logits(tiny.root, hf)
    assert not comparison.matches and comparison.difference > 100 * TOLERANCE
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, hf / "model.safetensors", metadata={"format": "pt"})
    comparison = compare_logits(tiny.root, hf)
    assert not comparison.matches and comparison.difference == float("inf")


def test_missing_tensor_of_the_model_is_an_error(tiny, hf):
    tensors = load_file(hf / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, hf / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelTensorsError) as raised:
        compare_logits(tiny.root, hf)
    assert (raised.value.kind, raised.value.names) == ("missing", ("model.layers.1.mlp.up_proj.weight",))


@pytest.mark.parametrize(
    "change",
    [{"--norm-epsilon": "=0.001"}, {"--rotary-percent": "=0.5"}, {"--add-qkv-bias": ""}, {"--qk-layernorm": ""}],
    ids=lambda change: next(iter(change)),
)
def test_changed_flags_are_found(tiny, root, change, capsys):
    _flags(root, change)
    assert main(["check", str(root), "--compute", str(tiny.hf), "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "\n" not in problem
    assert "Logits differ" in problem or "Megatron-LM cannot load" in problem or "by the flags" in problem


def test_wrong_args_and_flags_are_found(tiny, root):
    _flags(root, {"--rotary-base": "=500000"})
    with pytest.raises(ContradictingArgsError) as raised:
        compare_logits(root, tiny.hf)
    assert (raised.value.name, raised.value.value, raised.value.flag) == ("rotary_base", 10000, 500000)
    change_args(root, rotary_base=500000)
    comparison = compare_logits(root, tiny.hf)
    assert not comparison.matches and comparison.difference > 100 * TOLERANCE


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"--no-such-flag": ""}, lambda folder: RejectedReleaseError(folder, Containing("--no-such-flag"))),
        (
            {"--tensor-model-parallel-size": "=2"},
            lambda folder: RejectedReleaseError(folder, Containing("AssertionError")),
        ),
        ({"--help": ""}, lambda folder: RejectedReleaseError(folder, Containing("flags"))),
        ({"--num-layers": "=two"}, lambda folder: RejectedReleaseError(folder, Containing("--num-layers", "'two'"))),
        ({"--num-layers": "=7"}, lambda folder: ContradictingArgsError(folder, "num_layers", 2, 7)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_rejected_flags_raise_single_line_error(tiny, root, change, expected):
    _flags(root, change)
    with raises(expected(root / "release")):
        compare_logits(root, tiny.hf)


def test_binary_flags_file_raises_rejected_release_error(tiny, root):
    (root / "release" / FLAGS_FILE).write_bytes(b"\xff\xfe")
    file = root / "release" / FLAGS_FILE
    with pytest.raises(RejectedReleaseError) as raised:
        compare_logits(root, tiny.hf)
    assert (raised.value.folder, raised.value.reason) == (root / "release", f"{file} is not a text file")
    file.unlink()
    assert main(["repair", str(root)]) == 0
    _assert_matches(compare_logits(root, tiny.hf), 2)


def _index(**values: Any) -> Callable[[Path], None]:
    """Give the weights another name, and an index with it."""

    def spoil(hf: Path) -> None:
        names = load_file(hf / "model.safetensors")
        (hf / "model.safetensors").rename(hf / "model-00001-of-00001.safetensors")
        index = {"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")} | values
        (hf / "model.safetensors.index.json").write_text(json.dumps(index))

    return spoil


def _field(**values: Any) -> Callable[[Path], None]:
    return lambda hf: change_config(hf, **values)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_index(), 'model.safetensors.index.json has no "metadata", which transformers requires. Add'),
        (_index(metadata=[]), 'has no "metadata"'),
        (shutil.rmtree, "No such directory: "),
        (lambda hf: (hf / "config.json").unlink(), "config.json is missing. Pass the directory"),
        (lambda hf: (hf / "config.json").write_text("{"), "config.json is invalid: Expecting property name"),
        (
            lambda hf: (hf / "model.safetensors").unlink(),
            "contains no weights (*.safetensors). Download the model again.",
        ),
        (
            lambda hf: os.truncate(hf / "model.safetensors", 9000),
            "model.safetensors (9,000",
        ),
        (_field(architectures=["MambaForCausalLM"], model_type="mamba"), "Unsupported architecture: MambaForCausalLM"),
        (_field(vocab_size=None), "transformers cannot read "),
        (_field(vocab_size=600), "declares a vocabulary of 512; "),
        (_field(num_hidden_layers=3), "declares 2 layers; "),
        (_field(head_dim=8), "Shape mismatch with config.json in "),
    ],
    ids="no metadata,bad metadata,gone,no config,bad config,no weights,cut,mamba,no vocabulary,larger,longer,heads".split(
        ","
    ),
)
def test_logit_check_reports_invalid_model_in_single_line(tiny, hf, spoil, expected, capsys):
    spoil(hf)
    assert main(["check", str(tiny.root), "--compute", str(hf), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (problem,) = report["problems"]
    assert problem.startswith(f"The logit check with {hf} failed: ") and expected in problem and "\n" not in problem
    assert "logit_check" not in report


def test_index_with_metadata_is_read(tiny, hf):
    _index(metadata={})(hf)
    _assert_matches(compare_logits(tiny.root, hf), 2)


def test_check_is_skipped_if_transformers_fails(tiny, hf, capsys):
    _field(hidden_act="no-such")(hf)
    assert main(["check", str(tiny.root), "--compute", str(hf)]) == 3
    assert ": transformers cannot load it here (KeyError: 'no-such').\n" in capsys.readouterr().out


def test_check_is_skipped_if_memory_runs_out(tiny):
    _, hard = limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 30), hard))
    try:
        # Attention scores of some gigabytes.
        comparison = compare_logits(tiny.root, tiny.hf, positions=20_000, memory=1 << 40)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert not comparison.matches and comparison.difference == float("inf")
    assert "allocate memory" in comparison.skipped and "\n" not in comparison.skipped


def test_report_contains_the_result_of_the_logit_check(tiny, root, other, capsys):
    assert main(["check", str(tiny.root), "--deep", str(tiny.hf), "--compute", str(tiny.hf)]) == 0
    shown = capsys.readouterr().out
    assert f"Logits match {tiny.hf}: maximum relative difference" in shown
    assert main(["check", str(tiny.root), "--compute", str(other.hf), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    (problem,) = report["problems"]
    assert problem.startswith(f"Logits differ from {other.hf}: ")
    assert not report["logit_check"]["matches"] and report["logit_check"]["difference"] > TOLERANCE
    shard(root / "release").write_bytes(b"")
    assert main(["check", str(root), "--compute", str(tiny.hf), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert f"Skipped --compute {tiny.hf}: fix the problems first." in report["notes"] and "logit_check" not in report


@pytest.mark.parametrize("difference", [float("nan"), float("inf")])
def test_comparison_without_a_finite_difference_does_not_match(difference):
    assert not LogitComparison("model", 2, 2, 8, difference).matches
