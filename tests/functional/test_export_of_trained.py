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

"""An export computes what Megatron-LM trained, with whatever flags, or is refused.

Each checkpoint is saved by Megatron-LM's own ``save_checkpoint``, and the exported model's logits in transformers are
compared with those of Megatron-LM's own builder of the same flags.
"""

import json
import os
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from expected_errors import raises
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from megatron.training.checkpointing import save_checkpoint
from megatron_lm import load, logits, megatron_lm, release_flags
from models import FAMILIES, ODD_LLAMA, make_tiny_llama, save_random_model, save_tokenizer
from safetensors.torch import load_file
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers import LlamaConfig

from megatron.bridge import AutoBridge
from megatron.bridge.release.export import run
from megatron.bridge.release.export.config_errors import (
    InexpressibleArgsError,
    NoArgsError,
    RopeFactorMismatchError,
    RunConfigMismatchError,
    SourceConfigMismatchError,
    TokenizerMismatchError,
    VocabSizeMismatchError,
)
from megatron.bridge.release.export.errors import (
    NoCheckpointError,
    OutputInCheckpointError,
    RowMismatchError,
    ShapeMismatchError,
    TensorDtypeError,
    UnexpectedTensorsError,
    UnreadableCheckpointError,
)
from megatron.bridge.release.export.publish import FolderPublication
from megatron.bridge.release.layout import SOURCE_FILE
from megatron.bridge.release.megatron_args.errors import ArgsError, UnknownRopeFactorError
from megatron.bridge.release.source.errors import OutputInModelError
from megatron.bridge.training.model_load_save import save_megatron_model
from megatron.bridge.utils.single_process import conversion_process_group


TOKENS = torch.arange(400).reshape(2, 200)
EMBEDDING, OUTPUT = "embedding.word_embeddings.weight", "output_layer.weight"
NORM = "decoder.final_layernorm.weight"
SCALED = ("--use-rope-scaling", "--rope-scaling-factor")

# Name of a model, flags of its training, and how flags of the release begin that the training did without.
TRAININGS = {
    "base and epsilon": ("gqa-untied", ["--rotary-base=54321", "--norm-epsilon=1e-3"], ()),
    "interpolated": ("gqa-tied", ["--rotary-seq-len-interpolation-factor=4"], ()),
    "scaled": ("eight-heads", ["--use-rope-scaling"], ()),
    "longer": ("gqa-tied", ["--max-position-embeddings=4096"], ()),
    "not scaled": ("llama3-rope", [], SCALED),
    "scaled, other base": ("llama3-rope", ["--rotary-base=700000"], ()),
    "window": ("Mistral (sliding window)", ["--window-size=9,0"], ("--window-size",)),
    "no window": ("Mistral (sliding window)", [], ("--window-size",)),
    "experts": ("Qwen3-MoE (experts, qk-norm)", ["--moe-router-topk=3", "--norm-epsilon=2e-5"], ()),
    "plain script": ("Llama 3.2 (rope scaling, tied)", ["--rope-scaling-factor=8"], ()),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """Models and their releases, by the names of the models."""
    made = {}
    for name in {name for name, *_ in TRAININGS.values()} | {"padded-vocabulary"}:
        folder = tmp_path_factory.mktemp("source")
        if name in FAMILIES:
            hf = save_random_model(folder / "hf", FAMILIES[name].config)
        else:
            hf = make_tiny_llama(folder / "hf", name)
        AutoBridge.import_ckpt(hf, folder / "root", release=True)
        made[name] = hf, folder / "root"
    return made


def _train(
    source: tuple[Path, Path],
    to: Path,
    flags: list[str],
    without: tuple[str, ...] = (),
    rows: int | None = None,
    added: tuple[str, ...] = (),
) -> tuple[Path, torch.Tensor, torch.Tensor]:
    """Load a release with other flags and save it as iteration 3; return the root, logits and the embedding.

    Args:
        source: The model and its release.
        to: Checkpoint directory to make.
        flags: Flags of the training.
        without: How flags of the release begin that the training did without.
        rows: Rows of the embedding that are trained, if they are more than 500.
        added: Names of modules that get another parameter.
    """
    root = Path(shutil.copytree(source[1], to))
    flags = [*release_flags(root, without), *flags, "--save", str(root), "--save-interval", "1"]
    with megatron_lm([*flags, "--no-save-optim", "--no-save-rng"]) as args:
        model, _ = load(args)
        torch.manual_seed(1)
        for parameter in model.parameters():
            # Trained in float32: bfloat16 does not have these values.
            parameter.data += 1e-3 * torch.randn_like(parameter)
        if rows is not None:
            model.embedding.word_embeddings.weight.data[500:].normal_()
        found = logits(model, TOKENS)
        embedding = model.state_dict()["embedding.word_embeddings.weight"].clone()
        for module in added:
            model.get_submodule(module).register_parameter("added_bias", torch.nn.Parameter(torch.ones(4)))
        save_checkpoint(3, [model], None, None, 0)
    return root, found, embedding


@pytest.mark.parametrize("name", TRAININGS)
def test_export_computes_the_trained_function(sources, tmp_path, name):
    source_name, flags, without = TRAININGS[name]
    hf, _ = source = sources[source_name]
    root, expected, _ = _train(source, tmp_path / "root", flags, without)
    AutoBridge.from_hf_pretrained(hf).export_ckpt(root, tmp_path / "exported", show_progress=False)
    exported = load_hf(tmp_path / "exported")
    vocabulary = exported.config.vocab_size
    assert wrong_logits(hf_logits(exported, TOKENS), expected[..., :vocabulary].contiguous()) == []
    if name != "longer":
        before = hf_logits(load_hf(hf), TOKENS)
        assert wrong_logits(before, expected[..., :vocabulary].contiguous()) != [], "the flags changed the model"
    else:
        assert exported.config.max_position_embeddings == 4096
    # The export can be imported again.
    AutoBridge.import_ckpt(tmp_path / "exported", tmp_path / "again", release=True)


def test_inexpressible_training_is_refused(sources, tmp_path):
    hf, _ = source = sources["gqa-tied"]
    root, *_ = _train(source, tmp_path / "root", ["--rotary-percent=0.5"])
    with pytest.raises(InexpressibleArgsError) as raised:
        AutoBridge.from_hf_pretrained(hf).export_ckpt(root, tmp_path / "exported", show_progress=False)
    assert raised.value.differences == {"rotary_percent": (0.5, 1.0)}
    assert not (tmp_path / "exported").exists()


def test_unrecorded_rope_factor_must_be_passed(sources, tmp_path):
    hf, _ = source = sources["Llama 3.2 (rope scaling, tied)"]
    root, expected, _ = _train(source, tmp_path / "root", [])
    bridge = AutoBridge.from_hf_pretrained(hf)
    with pytest.raises(UnknownRopeFactorError) as raised:
        bridge.export_ckpt(root, tmp_path / "exported", show_progress=False)
    assert raised.value.factor == 32.0 and not (tmp_path / "exported").exists()
    with pytest.raises(UnknownRopeFactorError) as loaded:
        bridge.load_megatron_model(root)
    assert (raised.value.is_export, loaded.value.is_export) == (True, False)
    with pytest.raises(RopeFactorMismatchError) as mismatch:
        bridge.export_ckpt(source[1], tmp_path / "exported", show_progress=False, rope_scaling_factor=8)
    assert (mismatch.value.factor, mismatch.value.recorded) == (8, 32.0)
    # The builder of this test is Megatron-LM's own.
    bridge.export_ckpt(root, tmp_path / "exported", show_progress=False, rope_scaling_factor=8)
    exported = hf_logits(load_hf(tmp_path / "exported"), TOKENS)
    assert wrong_logits(exported, expected[..., :500].contiguous()) == []
    assert json.loads((tmp_path / "exported/config.json").read_text())["rope_scaling"]["factor"] == 8.0


def test_export_requires_tokenizer_when_vocabulary_has_grown(sources, tmp_path):
    hf, _ = source = sources["padded-vocabulary"]
    flags = ["--vocab-size=600", "--padded-vocab-size=640"]
    root, expected, embedding = _train(source, tmp_path / "root", flags, rows=600)
    assert len(embedding) == 640
    bridge = AutoBridge.from_hf_pretrained(hf)
    with pytest.raises(RopeFactorMismatchError):
        bridge.export_ckpt(root, tmp_path / "exported", show_progress=False, rope_scaling_factor=8)
    with pytest.raises(VocabSizeMismatchError) as raised:
        bridge.export_ckpt(root, tmp_path / "exported", show_progress=False)
    assert (raised.value.rows, raised.value.declared) == (640, 500)
    with pytest.raises(TokenizerMismatchError):
        bridge.export_ckpt(
            root, tmp_path / "exported", show_progress=False, tokenizer_path=save_tokenizer(tmp_path / "641", 641)
        )
    tokenizer = save_tokenizer(tmp_path / "600", 600)
    bridge.export_ckpt(root, tmp_path / "exported", show_progress=False, tokenizer_path=tokenizer)
    for file in tokenizer.iterdir():
        assert (tmp_path / "exported" / file.name).read_bytes() == file.read_bytes()
    exported = load_hf(tmp_path / "exported")
    assert exported.config.vocab_size == 600
    rows = load_file(tmp_path / "exported/model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(rows.float(), embedding[:600].float())
    assert wrong_logits(hf_logits(exported, TOKENS), expected[..., :600].contiguous()) == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_config_declares_the_dtype_of_the_tensors(tmp_path, dtype):
    hf = make_tiny_llama(tmp_path / "hf", "gqa-tied")
    config = json.loads((hf / "config.json").read_text())
    (hf / "config.json").write_text(json.dumps(config | {"dtype": "float32"}))
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, torch_dtype=getattr(torch, dtype))
    AutoBridge.from_hf_pretrained(hf).export_ckpt(tmp_path / "root", tmp_path / "exported", show_progress=False)
    exported = json.loads((tmp_path / "exported/config.json").read_text())
    tensors = load_file(tmp_path / "exported/model.safetensors").values()
    assert {str(tensor.dtype) for tensor in tensors} == {f"torch.{dtype}"}
    assert (exported["dtype"], exported["torch_dtype"]) == (dtype, dtype)


@pytest.mark.parametrize(
    ("added", "key"),
    [
        (("decoder.layers.0", "decoder.layers.1"), "decoder.layers.added_bias"),
        (("decoder.final_layernorm",), "decoder.final_layernorm.added_bias"),
        (("",), "added_bias"),
    ],
    ids=["layers", "norm", "model"],
)
def test_unexpected_tensor_is_refused(sources, tmp_path, added, key):
    hf, _ = source = sources["gqa-tied"]
    root, *_ = _train(source, tmp_path / "root", [], added=added)
    with pytest.raises(UnexpectedTensorsError) as raised:
        AutoBridge.from_hf_pretrained(hf).export_ckpt(root, tmp_path / "exported", show_progress=False)
    assert raised.value.names == (key,)
    assert not (tmp_path / "exported").exists()


def test_additional_layers_are_refused(tmp_path):
    deeper, hf = (
        save_random_model(tmp_path / f"{layers}", LlamaConfig(**ODD_LLAMA | {"num_hidden_layers": layers}))
        for layers in (3, 2)
    )
    AutoBridge.import_ckpt(deeper, tmp_path / "release", release=True)
    root, *_ = _train((deeper, tmp_path / "release"), tmp_path / "root", [])
    _rewrite_args(root, lambda args: setattr(args, "num_layers", 2))
    (root / "release" / SOURCE_FILE).unlink()
    with pytest.raises(ShapeMismatchError) as raised:
        AutoBridge.from_hf_pretrained(hf).export_ckpt(root, tmp_path / "exported", show_progress=False)
    assert raised.value.name.startswith("decoder.layers")
    assert (raised.value.found[0], raised.value.expected[0]) == (3, 2)


def _saved_by_bridge(hf: Path, root: Path, **fields: Any) -> None:
    """Save a model of other fields with Megatron-Bridge, as its training does: with a run config, without args."""
    with conversion_process_group():
        provider = AutoBridge.from_hf_pretrained(hf).to_megatron_provider()
        for name, value in fields.items():
            setattr(provider, name, value)
        provider.finalize()
        model = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        save_megatron_model(model, root)


def test_export_uses_run_config_of_bridge_training(sources, tmp_path):
    hf, _ = sources["Llama 3.2 (rope scaling, tied)"]
    _saved_by_bridge(hf, tmp_path / "root", rotary_base=54321, layernorm_epsilon=1e-3, seq_length=64)
    AutoBridge.from_hf_pretrained(hf).export_ckpt(tmp_path / "root", tmp_path / "exported", show_progress=False)
    source, exported = (json.loads((folder / "config.json").read_text()) for folder in (hf, tmp_path / "exported"))
    assert (exported["rope_theta"], exported["rms_norm_eps"]) == (54321.0, 1e-3)
    # Megatron-Bridge applies the factor, and its training's sequences may be shorter than the model's.
    assert exported["rope_scaling"]["factor"] == 32.0
    assert exported["max_position_embeddings"] == source["max_position_embeddings"] == 2048


def test_field_without_argument_is_refused(sources, tmp_path):
    hf, _ = sources["gqa-tied"]
    _saved_by_bridge(hf, tmp_path / "root", softmax_scale=0.5)
    with pytest.raises(InexpressibleArgsError) as raised:
        AutoBridge.from_hf_pretrained(hf).export_ckpt(tmp_path / "root", tmp_path / "exported", show_progress=False)
    assert raised.value.differences == {"softmax_scale": ("set", None)}


def _rewrite_args(root: Path, change: Callable[[Namespace], None]) -> None:
    """Change the args of iteration 3, as a hook of one's own may write them."""
    with conversion_process_group():
        common = load_common_state_dict(str(root / "iter_0000003"))
    change(common["args"])
    torch.save(common, root / "iter_0000003/common.pt")


def test_checkpoint_without_args_is_refused(sources, tmp_path):
    hf, _ = source = sources["gqa-tied"]
    root, *_ = _train(source, tmp_path / "root", [])
    bridge = AutoBridge.from_hf_pretrained(hf)
    for name, change in {
        "layernorm_epsilon": lambda args: delattr(args, "layernorm_epsilon"),
        "position_embedding_type": lambda args: delattr(args, "position_embedding_type"),
        "vocab_size": lambda args: setattr(args, "vocab_size", "512"),
    }.items():
        changed = Path(shutil.copytree(root, tmp_path / name))
        _rewrite_args(changed, change)
        with pytest.raises(ArgsError) as raised:
            bridge.export_ckpt(changed, tmp_path / "exported", show_progress=False)
        assert raised.value.names == (name,)
    with conversion_process_group():
        common = load_common_state_dict(str(root / "iter_0000003"))
    del common["args"]
    torch.save(common, root / "iter_0000003/common.pt")
    with pytest.raises(NoArgsError):
        bridge.export_ckpt(root, tmp_path / "exported", show_progress=False)
    assert not (tmp_path / "exported").exists()


def test_load_is_refused_when_run_config_differs_from_args(sources, tmp_path):
    hf, _ = source = sources["gqa-untied"]
    bridge = AutoBridge.from_hf_pretrained(hf)
    root, *_ = _train(source, tmp_path / "root", ["--rotary-base=54321", "--norm-epsilon=1e-3"])
    with pytest.raises(RunConfigMismatchError) as raised:
        bridge.load_megatron_model(root)
    assert raised.value.differences["rotary_base"] == (54321, 10000)
    same, *_ = _train(source, tmp_path / "same", [])
    with conversion_process_group():
        bridge.save_hf_pretrained(bridge.load_megatron_model(same), tmp_path / "exported", show_progress=False)
    bridge.export_ckpt(same, tmp_path / "expected", show_progress=False)
    found, expected = (load_file(tmp_path / name / "model.safetensors") for name in ("exported", "expected"))
    # A load rounds to the release's dtype.
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name].bfloat16()) for name in found)


def test_save_is_refused_when_source_config_differs(sources, tmp_path):
    hf, _ = sources["gqa-tied"]
    bridge = AutoBridge.from_hf_pretrained(hf)
    _saved_by_bridge(hf, tmp_path / "root", rotary_base=54321)
    with conversion_process_group():
        model = bridge.load_megatron_model(tmp_path / "root")
        with pytest.raises(SourceConfigMismatchError) as raised:
            bridge.save_hf_pretrained(model, tmp_path / "exported", show_progress=False)
    assert raised.value.differences == {"rotary_base": (54321, 10000)}
    assert not (tmp_path / "exported").exists()


def _rewrite_tensors(root: Path, to: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """Copy a checkpoint directory, and change the tensors of iteration 3."""
    folder = Path(shutil.copytree(root, to)) / "iter_0000003"
    # Without the common state in the tensors' files, Megatron Core reads common.pt.
    _rewrite_args(to, lambda args: None)
    stored = FileSystemReader(folder).read_metadata().state_dict_metadata
    tensors = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype)
        if isinstance(entry, TensorStorageMetadata)
        else None
        for key, entry in stored.items()
    }
    dcp.load(tensors, checkpoint_id=folder, no_dist=True)
    for file in (*folder.glob("*.distcp"), folder / ".metadata"):
        file.unlink()
    change(tensors)
    dcp.save(tensors, checkpoint_id=folder, no_dist=True)
    return to


def _cast(dtype: torch.dtype, *keys: str) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors.update(
        (key, tensors[key].to(dtype)) for key in keys or [*tensors] if torch.is_tensor(tensors[key])
    )


def test_export_refuses_output_layer_with_different_shape(sources, tmp_path):
    hf, _ = source = sources["gqa-untied"]
    root, *_ = _train(source, tmp_path / "root", [])
    bridge = AutoBridge.from_hf_pretrained(hf)
    changes: dict[int, Callable[[torch.Tensor], torch.Tensor]] = {
        384: lambda weight: weight[:384].clone(),
        640: lambda weight: torch.cat([weight, weight[:128]]),
    }
    for rows, change in changes.items():
        changed = _rewrite_tensors(
            root, tmp_path / str(rows), lambda tensors: tensors.update({OUTPUT: change(tensors[OUTPUT])})
        )
        with pytest.raises(RowMismatchError) as raised:
            bridge.export_ckpt(changed, tmp_path / "exported", show_progress=False)
        assert raised.value.rows == {EMBEDDING: 512, OUTPUT: rows}
    narrow = _rewrite_tensors(
        root, tmp_path / "narrow", lambda tensors: tensors.update({OUTPUT: tensors[OUTPUT][:, :32].clone()})
    )
    with pytest.raises(ShapeMismatchError) as mismatch:
        bridge.export_ckpt(narrow, tmp_path / "exported", show_progress=False)
    assert (mismatch.value.name, mismatch.value.found) == (OUTPUT, (512, 32))
    assert not (tmp_path / "exported").exists()


def test_export_has_the_widest_dtype(sources, tmp_path):
    hf, _ = source = sources["gqa-untied"]
    root, *_ = _train(source, tmp_path / "root", [])
    bridge = AutoBridge.from_hf_pretrained(hf)
    bridge.export_ckpt(root, tmp_path / "float32", show_progress=False)
    weights = load_file(tmp_path / "float32/model.safetensors")
    name = "model.embed_tokens.weight"
    mixed = _rewrite_tensors(root, tmp_path / "mixed", _cast(torch.bfloat16, EMBEDDING))
    bridge.export_ckpt(mixed, tmp_path / "exported", show_progress=False)
    found = load_file(tmp_path / "exported/model.safetensors")
    expected = weights | {name: weights[name].bfloat16().float()}
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)
    assert json.loads((tmp_path / "exported/config.json").read_text())["dtype"] == "float32"
    # bfloat16 and float16 both fit into float32 alone.
    narrow = _rewrite_tensors(root, tmp_path / "narrow", _cast(torch.float16))
    narrow = _rewrite_tensors(narrow, tmp_path / "both", _cast(torch.bfloat16, EMBEDDING))
    bridge.export_ckpt(narrow, tmp_path / "both kinds", show_progress=False)
    found = load_file(tmp_path / "both kinds/model.safetensors")
    expected = {key: weight.half().float() for key, weight in weights.items()}
    expected[name] = weights[name].half().bfloat16().float()
    assert all(torch.equal(found[key], expected[key]) for key in found)
    # The user chooses to round.
    bridge.export_ckpt(mixed, tmp_path / "rounded", show_progress=False, dtype="bfloat16")
    found = load_file(tmp_path / "rounded/model.safetensors")
    assert all(torch.equal(found[key], weights[key].bfloat16()) for key in weights)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn, torch.float64], ids=str)
def test_weight_of_unsupported_dtype_is_refused(sources, tmp_path, dtype):
    hf, _ = source = sources["gqa-untied"]
    root, *_ = _train(source, tmp_path / "root", [])
    key = "decoder.layers.self_attention.linear_proj.weight"
    changed = _rewrite_tensors(root, tmp_path / "changed", _cast(dtype, key))
    for option in (None, "float32"):
        with pytest.raises(TensorDtypeError) as raised:
            AutoBridge.from_hf_pretrained(hf).export_ckpt(
                changed, tmp_path / "exported", show_progress=False, dtype=option
            )
        assert (raised.value.name, raised.value.dtype) == (key, str(dtype)[6:])
    assert not (tmp_path / "exported").exists()


def _without_norm(folder: Path) -> None:
    _rewrite_tensors(folder.parent, folder.parent.parent / "moved", lambda tensors: tensors.pop(NORM))
    shutil.rmtree(folder)
    shutil.move(folder.parent.parent / "moved/iter_0000003", folder)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "norm missing": _without_norm,
    "shard truncated": lambda folder: os.truncate(min(folder.glob("*.distcp")), 100),
    "shard missing": lambda folder: [file.unlink() for file in folder.glob("*.distcp")],
    ".metadata damaged": lambda folder: (folder / ".metadata").write_bytes(b"garbage"),
    ".metadata empty": lambda folder: (folder / ".metadata").write_bytes(b""),
    "metadata.json missing": lambda folder: (folder / "metadata.json").unlink(),
    "metadata.json damaged": lambda folder: (folder / "metadata.json").write_text("{"),
    "common.pt damaged": lambda folder: (folder / "common.pt").write_bytes(b"garbage"),
    "common.pt empty": lambda folder: (folder / "common.pt").write_bytes(b""),
    "common.pt truncated": lambda folder: (
        torch.save({"a": torch.ones(999)}, folder / "common.pt"),
        os.truncate(folder / "common.pt", 900),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_refused(sources, tmp_path, damage):
    hf, _ = source = sources["gqa-untied"]
    root, *_ = _train(source, tmp_path / "root", [])
    DAMAGES[damage](root / "iter_0000003")
    with pytest.raises(UnreadableCheckpointError) as raised:
        AutoBridge.from_hf_pretrained(hf).export_ckpt(root, tmp_path / "exported", show_progress=False)
    assert raised.value.directory == root and "\n" not in raised.value.reason
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(
    ("step", "outcome"), [("_write_files", "Nothing was published"), ("commit", "The model in .* is complete.")]
)
def test_interrupted_export_reports_outcome(sources, tmp_path, monkeypatch, step, outcome):
    hf, release = sources["gqa-untied"]
    owner = FolderPublication if step == "commit" else run
    original = getattr(owner, step)

    def interrupted(*arguments):
        if step == "commit":
            original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, step, interrupted)
    with pytest.raises(KeyboardInterrupt, match=f"^interrupted. {outcome}"):
        AutoBridge.from_hf_pretrained(hf).export_ckpt(release, tmp_path / "exported", show_progress=False)
    assert (tmp_path / "exported/config.json").exists() == (step == "commit")


def test_directory_without_checkpoint_is_refused(sources, tmp_path):
    hf, _ = sources["gqa-untied"]
    bridge = AutoBridge.from_hf_pretrained(hf)
    with pytest.raises(NoCheckpointError):
        bridge.export_ckpt(hf, tmp_path / "exported", show_progress=False)
    with pytest.raises(FileNotFoundError, match="absent"):
        bridge.export_ckpt(tmp_path / "absent", tmp_path / "exported", show_progress=False)
    assert not (tmp_path / "exported").exists()


def test_output_in_checkpoint_or_source_model_is_refused(sources, tmp_path):
    hf, release = sources["gqa-tied"]
    root = Path(shutil.copytree(release, tmp_path / "root"))
    bridge = AutoBridge.from_hf_pretrained(hf)
    for out, checkpoint, directory, is_name in (
        (root / "release/out", root, root / "release", False),
        (root / "iter_0000009", root, root, True),
        (root / "iter_0000009/out", root / "release", root / "iter_0000009", False),
    ):
        with pytest.raises(OutputInCheckpointError) as raised:
            bridge.export_ckpt(checkpoint, out, show_progress=False)
        assert (raised.value.directory, raised.value.is_name) == (directory, is_name) and not out.exists()
    with raises(OutputInModelError(hf / "out", hf)):
        bridge.export_ckpt(root, hf / "out", show_progress=False)
    assert not (hf / "out").exists()
    assert sorted(path.name for path in root.iterdir()) == sorted(path.name for path in release.iterdir())


def test_export_refuses_bridge_of_different_model(sources, tmp_path):
    # Without a record of the source model, which would be the reason.
    release = Path(shutil.copytree(sources["Llama 3.2 (rope scaling, tied)"][1], tmp_path / "root"))
    (release / "release" / SOURCE_FILE).unlink()
    for name in ("Qwen3-MoE (experts, qk-norm)", "Mistral (sliding window)"):
        with pytest.raises(InexpressibleArgsError):
            AutoBridge.from_hf_pretrained(sources[name][0]).export_ckpt(
                release, tmp_path / "exported", show_progress=False
            )
