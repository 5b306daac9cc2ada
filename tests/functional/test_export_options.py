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

"""The options of ``export``, and what it copies: through the command, on checkpoints that Megatron-LM saved."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from expected_errors import raises, warns
from hf_logits import hf_logits, load_hf, wrong_logits
from hf_tensors import assert_same_tensors, same_bits
from megatron.training.checkpointing import save_checkpoint
from megatron_lm import load, logits, megatron_lm, release_flags
from models import make_tiny_llama, save_tokenizer
from odd_models import make_odd, with_more
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.errors import MissingReleaseError, ReleaseError, TwoReleasesError, shell_option
from megatron.bridge.release.export import run as export_run
from megatron.bridge.release.export.errors import (
    DiskSpaceError,
    ExportDtypeError,
    MissingTensorsError,
    MissingTensorsWarning,
    NotAReleaseError,
    OutputInCheckpointError,
    OutputNotEmptyError,
    SeveralProcessesError,
    UnknownIterationError,
)
from megatron.bridge.release.layout import METADATA, SOURCE_FILE
from megatron.bridge.release.source.errors import FileChangedError
from megatron.bridge.release.source.provenance_errors import SourceMismatchError
from megatron.bridge.release.validation.model_errors import NonFiniteError, SkippedTensorsWarning


TOKENS = torch.arange(400).reshape(2, 200)
NORM = "model.norm.weight"


def _train(
    root: Path, save: Path, iteration: int, *flags: str, rows: int | None = None, norm: float | None = None
) -> torch.Tensor:
    """Load a release and save it as an iteration with another last norm; return its logits.

    Args:
        root: Checkpoint directory of the release.
        save: Checkpoint directory to save to.
        iteration: Number of the iteration, to which the norm is set.
        flags: Flags of the training.
        rows: Rows of the embedding that are trained, if they are more than 500.
        norm: Value of the norm; that of the iteration if None.
    """
    run = ["--save", str(save), "--save-interval", "1", "--no-save-optim", "--no-save-rng"]
    with megatron_lm([*release_flags(root), *flags, *run]) as args:
        model, _ = load(args)
        with torch.no_grad():
            model.decoder.final_layernorm.weight.fill_(iteration if norm is None else norm)
            if rows is not None:
                torch.manual_seed(1)
                for layer in (model.embedding.word_embeddings, model.output_layer):
                    layer.weight[500:rows].normal_()
        model.bfloat16().float()
        found = logits(model, TOKENS)
        save_checkpoint(iteration, [model], None, None, 0)
    return found


def _norm(folder: Path) -> float:
    (value,) = load_file(folder / "model.safetensors")[NORM].unique().tolist()
    return value


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory) -> Path:
    """A checkpoint directory with a release and the iterations 3 and 5."""
    root = Path(shutil.copytree(tiny.root, tmp_path_factory.mktemp("trained") / "root"))
    _train(root, root, 3)
    _train(root, root, 5)
    return root


@pytest.fixture(scope="module")
def elsewhere(tiny, tmp_path_factory) -> Path:
    """What a training saved to another directory than that of its release."""
    save = tmp_path_factory.mktemp("elsewhere") / "save"
    _train(tiny.root, save, 7)
    return save


def _export(*words: object) -> None:
    assert main(["export", *map(str, words)]) == 0


def _fails(capfd, expected: ReleaseError, *words: object) -> None:
    assert main([*map(str, words)]) == 1
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ") and line.endswith(expected.text(shell_option))


def test_export_supports_any_iteration(trained, tiny, tmp_path, capfd):
    for iteration, expected in (("3", 3.0), ("0000005", 5.0)):
        _export(trained, tiny.hf, tmp_path / iteration, "--iteration", iteration)
        assert _norm(tmp_path / iteration) == expected
    _export(trained, tiny.hf, tmp_path / "tracked")
    assert _norm(tmp_path / "tracked") == 5.0
    _export(trained, tiny.hf, tmp_path / "release", "--iteration", "release")
    assert_same_tensors(tmp_path / "release", tiny.hf)
    expected = UnknownIterationError(trained, "iter_0000004", ("iter_0000003", "iter_0000005", "release"))
    _fails(capfd, expected, "export", trained, tiny.hf, tmp_path / "o", "--iteration", "4")


def test_training_saved_elsewhere_is_exported_with_release(elsewhere, tiny, tmp_path, capfd):
    assert main(["check", str(elsewhere), "--json"]) == 0
    missing = MissingReleaseError(elsewhere, "checkpoint")
    reasons = [reader["why"] for reader in json.loads(capfd.readouterr().out)["readers"]]
    assert [missing.text(shell_option) in reason for reason in reasons].count(True) == 1
    _fails(capfd, missing, "export", elsewhere, tiny.hf, tmp_path / "out")
    _fails(capfd, missing, "launch", elsewhere)
    _export(elsewhere, tiny.hf, tmp_path / "out", "--release", tiny.root)
    assert _norm(tmp_path / "out") == 7.0
    capfd.readouterr()
    assert main(["launch", str(elsewhere), "--release", str(tiny.root)]) == 0
    command = capfd.readouterr().out
    assert f"--load {elsewhere} " in command and f"--tokenizer-model {tiny.root}/release/tokenizer " in command


def test_export_refuses_release_of_different_model(elsewhere, trained, tiny, other, tmp_path, capfd):
    mismatch = SourceMismatchError(other.root, str(other.hf), str(tiny.hf), ("weights",))
    _fails(capfd, mismatch, "export", elsewhere, tiny.hf, tmp_path / "out", "--release", other.root)
    bridge = AutoBridge.from_hf_pretrained(tiny.hf)
    with raises(mismatch):
        bridge.export_ckpt(elsewhere, tmp_path / "out", release_path=other.root / "release")
    with pytest.raises(NotAReleaseError):
        bridge.export_ckpt(elsewhere, tmp_path / "out", release_path=tiny.root)
    # It describes the model, so that only the comparison of its source model can refuse it.
    incomplete = Path(shutil.copytree(other.root, tmp_path / "incomplete"))
    (incomplete / "release" / METADATA).unlink()
    expected = NotAReleaseError(incomplete / "release")
    _fails(capfd, expected, "export", elsewhere, tiny.hf, tmp_path / "out", "--release", incomplete)
    assert not (tmp_path / "out").exists()
    bridge.export_ckpt(elsewhere, tmp_path / "named", release_path=tiny.root / "release", show_progress=False)
    assert _norm(tmp_path / "named") == 7.0
    missing = MissingReleaseError(elsewhere, "named")
    _fails(capfd, missing, "export", elsewhere, tiny.hf, tmp_path / "out", "--release", elsewhere)
    _fails(capfd, TwoReleasesError(trained), "export", trained, tiny.hf, tmp_path / "out", "--release", tiny.root)


def test_export_of_a_release_accepts_its_source_model_only(tiny, other, tmp_path):
    with pytest.raises(SourceMismatchError):
        AutoBridge.from_hf_pretrained(other.hf).export_ckpt(tiny.root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_is_refused_if_an_import_replaces_the_release(tiny, other, tmp_path, monkeypatch, capfd):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    load = export_run._load

    def replace_first(*arguments):
        # As an import with --overwrite does meanwhile.
        (root / "release").rename(tmp_path / "old")
        shutil.copytree(other.root / "release", root / "release")
        return load(*arguments)

    monkeypatch.setattr(export_run, "_load", replace_first)
    _fails(capfd, FileChangedError(root / "release"), "export", root, tiny.hf, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_tensors_are_cast_and_the_config_declares_their_dtype(tiny, tmp_path, dtype):
    _export(tiny.root, tiny.hf, tmp_path / "out", "--dtype", dtype)
    expected, found = (load_file(folder / "model.safetensors") for folder in (tiny.hf, tmp_path / "out"))
    assert found.keys() == expected.keys()
    assert all(same_bits(found[name], tensor.to(getattr(torch, dtype))) for name, tensor in expected.items())
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["dtype"] == config["torch_dtype"] == dtype
    assert load_hf(tmp_path / "out") is not None


def test_value_outside_the_dtype_is_refused(hf, tmp_path, capfd):
    tensors = load_file(hf / "model.safetensors")
    tensors[NORM][0] = 1e6
    save_file(tensors, hf / "model.safetensors", metadata={"format": "pt"})
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    expected = NonFiniteError(NORM, "Inf", "float16")
    _fails(capfd, expected, "export", tmp_path / "root", hf, tmp_path / "out", "--dtype", "float16")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size, files", [("1TB", 1), ("100KB", 3), ("1B", 21)])
def test_weight_files_have_the_requested_size(tiny, tmp_path, size, files):
    out = tmp_path / "out"
    _export(tiny.root, tiny.hf, out, "--max-shard-size", size)
    expected = load_file(tiny.hf / "model.safetensors")
    found = sorted(out.glob("*.safetensors"))
    assert len(found) == files
    if files == 1:
        assert [path.name for path in out.glob("model*")] == ["model.safetensors"]
    else:
        assert [path.name for path in found] == [
            f"model-{number:05d}-of-{files:05d}.safetensors" for number in range(1, files + 1)
        ]
        index = json.loads((out / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
        assert index["weight_map"] == {name: path.name for path in found for name in load_file(path)}
    for path in found:
        assert path.stat().st_size < 110_000 or size == "1TB"
        with safe_open(path, "pt") as file:
            # transformers 4 refuses files without it.
            assert file.metadata() == {"format": "pt"}
    merged = {name: tensor for path in found for name, tensor in load_file(path).items()}
    assert merged.keys() == expected.keys()
    assert all(same_bits(merged[name], tensor) for name, tensor in expected.items())
    assert torch.equal(hf_logits(load_hf(out), TOKENS), hf_logits(load_hf(tiny.hf), TOKENS))


def test_export_keeps_shards_of_source_model(tiny, tmp_path):
    hf = tmp_path / "hf"
    load_hf(tiny.hf).to(torch.bfloat16).save_pretrained(hf, max_shard_size="100KB")
    for file in tiny.hf.glob("tokenizer*"):
        shutil.copy(file, hf)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    _export(tmp_path / "root", hf, tmp_path / "out")
    assert_same_tensors(tmp_path / "out", hf)
    index = "model.safetensors.index.json"
    found, expected = (json.loads((folder / index).read_text()) for folder in (tmp_path / "out", hf))
    assert found["weight_map"] == expected["weight_map"]
    assert found["metadata"]["total_size"] == expected["metadata"]["total_size"]


def test_files_of_the_source_model_are_copied_unchanged(hf, tmp_path):
    files = {
        "tokenizer.model": bytes(range(256)),
        "added_tokens.json": b"{}",
        "special_tokens_map.json": b'{"eos_token": "<eos>"}\r\n',
        "chat_template.jinja": b"{{ messages }}",
        "additional_chat_templates/tool_use.jinja": b"{{ tools }}",
        "generation_config.json": b'{"do_sample": false, "temperature": 0.6}',
        "LICENSE": b"license",
        "LICENSE.txt": b"license",
        "USE_POLICY.md": b"policy",
    }
    not_copied = {"README.md": b"card", "code.py": b"1", "original/consolidated.pth": b"1", "pytorch_model.bin": b"1"}
    for name, content in (files | not_copied).items():
        (hf / name).parent.mkdir(exist_ok=True)
        (hf / name).write_bytes(content)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        files[name] = (hf / name).read_bytes()
    # A class of transformers 4 and 5; transformers 5 would write TokenizersBackend.
    values = json.loads(files["tokenizer_config.json"]) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    files["tokenizer_config.json"] = json.dumps(values).encode()
    (hf / "tokenizer_config.json").write_bytes(files["tokenizer_config.json"])
    root, out = tmp_path / "root", tmp_path / "out"
    assert main(["import", str(hf), str(root), "--no-logit-check"]) == 0
    _export(root, hf, out)
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    assert found.keys() == files.keys() | {"config.json", "model.safetensors"}
    assert {name: found[name].read_bytes() for name in files} == files
    saved = root / "release/tokenizer"
    names = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    assert names == files.keys() - {"generation_config.json", "LICENSE", "LICENSE.txt", "USE_POLICY.md"} | {
        "config.json"
    }
    assert all((saved / name).read_bytes() == (hf / name).read_bytes() for name in names)
    assert main(["check", str(root)]) == 0
    for folder in (saved, out):
        assert AutoTokenizer.from_pretrained(folder)("w1 w2 w9").input_ids == [1, 2, 9]


def test_all_options_together(tmp_path):
    """Another rope base, a vocabulary that grew, another dtype, files of another size."""
    hf, root, save, out = (tmp_path / name for name in ("hf", "root", "save", "out"))
    make_tiny_llama(hf, "padded-vocabulary")
    AutoBridge.import_ckpt(hf, root, release=True)
    flags = ("--rotary-base=54321", "--vocab-size=600", "--padded-vocab-size=640")
    expected = _train(root, save, 2, *flags, rows=600)[..., :600].contiguous()
    tokenizer = save_tokenizer(tmp_path / "tokenizer", 600)
    _export(
        *(save, hf, out, "--release", root, "--iteration", 2, "--dtype", "float32", "--max-shard-size", "64KiB"),
        *("--tokenizer", tokenizer),
    )
    config = json.loads((out / "config.json").read_text())
    assert (config["vocab_size"], config["dtype"]) == (600, "float32")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 54321
    assert len(list(out.glob("*.safetensors"))) > 2
    assert len(AutoTokenizer.from_pretrained(out)) == 600
    assert wrong_logits(hf_logits(load_hf(out), TOKENS), expected) == []
    # The exported model is one that an import takes.
    AutoBridge.import_ckpt(out, tmp_path / "again", release=True)


def test_full_disk_is_refused_before_the_work(tiny, tmp_path, capfd, monkeypatch):
    free = sum(tensor.nbytes for tensor in load_file(tiny.hf / "model.safetensors").values())
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free})())
    _export(tiny.root, tiny.hf, tmp_path / "out")
    expected = DiskSpaceError(tmp_path / "larger", free, 2 * free)
    _fails(capfd, expected, "export", tiny.root, tiny.hf, tmp_path / "larger", "--dtype", "float32")
    assert not (tmp_path / "larger").exists()


def test_python_export_into_nonempty_directory_is_refused(tiny, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OutputNotEmptyError) as raised:
        AutoBridge.from_hf_pretrained(tiny.hf).export_ckpt(tiny.root, tmp_path, show_progress=False)
    assert raised.value.names == ("mine",)
    with pytest.raises(ExportDtypeError):
        AutoBridge.from_hf_pretrained(tiny.hf).export_ckpt(tiny.root, tmp_path / "o", dtype=torch.int8)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_export_in_several_processes_is_refused(tiny, tmp_path, monkeypatch):
    # As torchrun sets it for each of its ranks.
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SeveralProcessesError):
        AutoBridge.from_hf_pretrained(tiny.hf).export_ckpt(tiny.root, tmp_path / "out", show_progress=False)
    assert not (tmp_path / "out").exists()


def test_missing_tensors_are_refused_unless_waived(tiny, tmp_path, capfd):
    more = make_odd(tiny.hf, tmp_path, with_more(self_attn__q_norm__weight=(16,)), {})
    root = Path(shutil.copytree(tiny.root, tmp_path / "unrecorded"))
    (root / "release" / SOURCE_FILE).unlink()
    bridge, out = AutoBridge.from_hf_pretrained(more), tmp_path / "out"
    names = tuple(f"model.layers.{layer}.self_attn.q_norm.weight" for layer in range(2))
    with raises(MissingTensorsError(names)):
        bridge.export_ckpt(root, out, strict=True)
    assert not out.exists()
    # In Python, upstream's default.
    with warns(MissingTensorsWarning(names)):
        bridge.export_ckpt(root, out)
    assert_same_tensors(out, tiny.hf)
    with warns(SkippedTensorsWarning(str(more), names)):
        AutoBridge.import_ckpt(more, tmp_path / "root", release=True, allow_unused_tensors=["*.q_norm.weight"])
    assert main(["export", str(tmp_path / "root"), str(more), str(tmp_path / "waived")]) == 0
    assert MissingTensorsWarning(names).text(shell_option) in capfd.readouterr().err
    assert_same_tensors(tmp_path / "waived", tiny.hf)


def test_output_inside_checkpoint_is_refused(tiny, tmp_path, capfd):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    expected = OutputInCheckpointError(root / "release/out", root / "release", is_name=False)
    _fails(capfd, expected, "export", root, tiny.hf, root / "release/out")
    assert not (root / "release/out").exists()


def test_nan_weights_are_refused(tiny, tmp_path, capfd):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    _train(root, root, 3, norm=float("nan"))
    expected = NonFiniteError("model.norm.weight", "NaN", "bfloat16")
    _fails(capfd, expected, "export", root, tiny.hf, tmp_path / "out")
    assert not (tmp_path / "out").exists()
