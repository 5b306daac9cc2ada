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

"""`check --deep` compares every tensor with the Hugging Face model, and names what differs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from models import FAMILIES, make_tiny_llama, save_random_model
from safetensors.torch import load_file, save_file

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.errors import shell_option
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify import weights as comparing
from megatron.bridge.release.verify.comparison_findings import (
    DifferentShape,
    DifferentTensor,
    DifferentTensors,
    EqualTensors,
    UnmatchedParameters,
    UnmatchedTensors,
)
from megatron.bridge.release.verify.dcp_metadata import read_metadata
from megatron.bridge.release.verify.errors import MissingParametersError, ParameterShapesError
from megatron.bridge.release.verify.streamed_weights import find_identical
from megatron.bridge.release.verify.weights import compare
from megatron.bridge.utils.single_process import conversion_process_group


def test_deep_finds_a_single_different_value(tiny, hf, root, capsys):
    assert main(["check", str(root), "--deep", str(tiny.hf), "--json"]) == 0
    source = load_file(tiny.hf / "model.safetensors")
    report = json.loads(capsys.readouterr().out)
    assert report["notes"] == [EqualTensors(len(source), str(tiny.hf)).text(shell_option)]
    name = "model.layers.1.mlp.up_proj.weight"
    source[name].view(torch.int16)[3, 5] ^= 1
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    assert main(["check", str(root), "--deep", str(hf), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == [DifferentTensor(name, str(hf), 1, source[name].numel()).text(shell_option)]
    assert report["notes"] == [EqualTensors(len(source) - 1, str(hf)).text(shell_option)]


def test_deep_check_refuses_different_and_missing_models(tiny, root, tmp_path, capsys):
    other = make_tiny_llama(tmp_path / "hf", "eight-heads")
    assert main(["check", str(root), "--deep", str(other), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == [
        f"The comparison with {other} failed: {root} was imported from {tiny.hf}, not from {other} (different config fields: head_dim, "
        "num_attention_heads, num_key_value_heads, tie_word_embeddings, vocab_size). Pass the source model, or another checkpoint directory."
    ]
    for path, expected in {
        tmp_path
        / "nothing": f"No such directory: {tmp_path / 'nothing'}. Pass a Hugging Face model ID or a local directory.",
        tmp_path: f"{tmp_path} is not a Hugging Face model: config.json is missing.",
    }.items():
        assert main(["check", str(root), "--deep", str(path)]) == 1
        assert f"The comparison with {path} failed: {expected}" in capsys.readouterr().out


def test_identical_weights_are_found_without_loading(tiny, hf):
    source = load_file(tiny.hf / "model.safetensors")
    with conversion_process_group():
        equal = find_identical(tiny.root / "release", AutoBridge.from_hf_pretrained(tiny.hf))
    assert equal.tensors == source.keys() and len(equal.parameters) == 3 + 2 * 6
    layer = "model.layers.1.self_attn."
    source[f"{layer}k_proj.weight"].view(torch.int16)[3, 5] ^= 1
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    with conversion_process_group():
        less = find_identical(tiny.root / "release", AutoBridge.from_hf_pretrained(hf))
    assert equal.parameters - less.parameters == {"decoder.layers.1.self_attention.linear_qkv.weight"}
    assert equal.tensors - less.tensors == {f"{layer}{name}_proj.weight" for name in "qkv"}
    # What was not seen to be equal is compared by names.
    count = source[f"{layer}k_proj.weight"].numel()
    equal, (problem,) = compare(tiny.root / "release", str(hf))
    assert equal == len(source) - 1
    assert vars(problem) == vars(DifferentTensor(f"{layer}k_proj.weight", str(hf), 1, count))


def test_deep_compares_names_and_shapes_before_values(tiny, tmp_path, monkeypatch):
    """Without a record of the source model, whose config would differ."""
    monkeypatch.setattr(comparing, "find_identical", lambda *_: pytest.fail("values were compared"))
    release = tiny.root / "release"
    more = save_random_model(tmp_path / "more", FAMILIES["Qwen3 (qk-norm)"].config)
    attention = "decoder.layers.self_attention"
    with pytest.raises(MissingParametersError) as raised:
        compare(release, str(more))
    assert raised.value.folder == release
    assert raised.value.names == (f"{attention}.k_layernorm.weight", f"{attention}.q_layernorm.weight")
    heads = make_tiny_llama(tmp_path / "heads", "eight-heads")
    with pytest.raises(ParameterShapesError) as raised:
        compare(release, str(heads))
    assert (raised.value.folder, raised.value.hf_model, raised.value.total) == (release, str(heads), 8)
    assert raised.value.shapes == {f"{attention}.linear_qkv.weight": ((2, 128, 64), (2, 192, 64))}


def test_deep_check_adds_single_problem_for_many_tensors(tiny, tmp_path):
    other = make_tiny_llama(tmp_path / "hf", "gqa-untied", seed=1)
    equal, (problem,) = compare(tiny.root / "release", str(other))
    assert (equal, type(problem), len(problem.names), problem.total) == (0, DifferentTensors, 21, 21)
    assert len(str(problem)) < 1000


def test_deep_finds_a_tensor_that_lacks_rows(tiny, hf):
    source, name = load_file(hf / "model.safetensors"), "lm_head.weight"
    shape = source[name].shape
    source[name] = torch.cat([source[name], source[name][:8]])
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    equal, (problem,) = compare(tiny.root / "release", str(hf))
    assert equal == len(source) - 1
    assert vars(problem) == vars(DifferentShape(name, str(hf), tuple(shape), tuple(source[name].shape)))


def test_deep_ignores_padding_and_compares_nan_bits(tmp_path):
    hf = make_tiny_llama(tmp_path / "hf", "padded-vocabulary")
    source = load_file(hf / "model.safetensors")
    source["model.layers.0.mlp.up_proj.weight"][2, 3] = float("nan")
    source["lm_head.weight"][-1, -1] = float("nan")
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    bridge = AutoBridge.from_hf_pretrained(hf)
    with conversion_process_group():
        models = []
        for rows in (500, 512):
            provider = bridge.to_megatron_provider(load_weights=rows == 500)
            provider.vocab_size = rows
            provider.finalize()
            models.append(provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True))
        weights = dict(models[0][0].named_parameters())
        for name, parameter in models[1][0].named_parameters():
            parameter.data.zero_()[: len(weights[name])] = weights[name].data
        # A release of such values is refused; what a repair makes one of is not.
        bridge.save_megatron_model(models[1], tmp_path / "root", hf_tokenizer_path=hf)
    repair(tmp_path / "root")
    assert read_metadata(tmp_path / "root" / "release").tensors["output_layer.weight"].shape[0] == 512
    assert compare(tmp_path / "root" / "release", str(hf)) == (len(source), [])


@pytest.mark.parametrize("batch", [1, 20_000, 1 << 30])
def test_deep_names_unmatched_tensors_for_any_batch_size(tiny, hf, monkeypatch, batch):
    monkeypatch.setattr(comparing, "_BATCH", batch)
    source = load_file(hf / "model.safetensors")
    del source["model.layers.1.mlp.down_proj.weight"]
    source["model.layers.0.self_attn.q_norm.weight"] = torch.ones(16)
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    equal, problems = compare(tiny.root / "release", str(hf))
    assert equal == len(source) - 1
    assert [(type(problem), problem.names) for problem in problems] == [
        (UnmatchedParameters, ("decoder.layers.1.mlp.linear_fc2.weight",)),
        (UnmatchedTensors, ("model.layers.0.self_attn.q_norm.weight",)),
    ]
    assert not problems[1].may_be_waived


def test_deep_check_reports_waived_tensors_and_skips_buffers(tmp_path):
    hf, root = make_tiny_llama(tmp_path / "hf", "gqa-tied"), tmp_path / "root"
    source = load_file(hf / "model.safetensors")
    ignored = (
        "model.rotary_emb.inv_freq",
        *(f"model.layers.0.self_attn.rotary_emb.{it}_cached" for it in ("cos", "sin")),
    )
    let_go = [f"model.layers.{layer}.self_attn.q_norm.weight" for layer in (0, 1)]
    # A copy of the embedding, which is tied.
    own = source | {"lm_head.weight": source["model.embed_tokens.weight"].clone()}
    stored = own | {name: torch.ones(8) for name in (*ignored, *let_go)}
    save_file(stored, hf / "model.safetensors", metadata={"format": "pt"})
    AutoBridge.import_ckpt(hf, root, release=True, allow_unused_tensors=["*.q_norm.weight"])
    equal, problems = compare(root / "release", str(hf))
    assert equal == len(own)
    (problem,) = problems
    assert (problem.names, problem.may_be_waived) == (tuple(let_go), True)


def test_deep_is_skipped_for_a_corrupt_common_state(tiny, root, capsys):
    (root / "release/common.pt").write_bytes(b"x")
    assert main(["check", str(root), "--deep", str(tiny.hf), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert all(problem.endswith(f"repair {root}") for problem in report["problems"])
    assert f"Skipped --deep {tiny.hf}: fix the problems first." in report["notes"]


def test_deep_compares_in_the_dtype_of_the_release(tiny, tmp_path):
    """Which the import may have chosen, whatever the config declares."""
    tensors = load_file(tiny.hf / "model.safetensors")
    wide = {name: tensor.float() * (1 + 2**-14) for name, tensor in tensors.items()}
    other = Path(shutil.copytree(tiny.hf, tmp_path / "other"))
    save_file(wide, other / "model.safetensors", {"format": "pt"})
    AutoBridge.import_ckpt(other, tmp_path / "wide", release=True, dtype=torch.float32)
    AutoBridge.import_ckpt(tiny.hf, tmp_path / "half", release=True, dtype=torch.float16)
    assert compare(tmp_path / "wide/release", str(other)) == (len(tensors), [])
    equal, problems = compare(tmp_path / "wide/release", str(tiny.hf))
    assert equal == 0 and problems
    assert compare(tmp_path / "half/release", str(tiny.hf)) == (len(tensors), [])
