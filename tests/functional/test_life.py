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

"""The life of a checkpoint, as the examples start it: a real model is imported, fine-tuned by Megatron-LM, which
saves beside the release and goes on from there, read by Bridge, and exported to Hugging Face."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from bridge_training import training_load
from expected_errors import raises
from hf_logits import hf_logits, load_hf, wrong_logits
from launcher_hook import before_training
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from megatron.training.checkpointing import save_checkpoint
from megatron_lm import TRAINED_LOCALLY, load, logits, megatron_lm, release_flags
from models import make_tiny_llama
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from training_runs import losses, run
from transformers import AutoTokenizer
from workers import EXAMPLES, SUPPORT, TIMEOUT, programs

from megatron.bridge import AutoBridge
from megatron.bridge.release.errors import InvalidTrackerError, MissingReleaseError, shell_option
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.source.provenance_errors import SourceMismatchError, UnknownSourceError
from megatron.bridge.release.verify.findings import MissingTracker
from megatron.bridge.training.checkpointing import load_checkpoint
from megatron.bridge.training.model_load_save import load_tokenizer
from megatron.bridge.training.utils.checkpoint_utils import get_hf_model_id_from_checkpoint
from megatron.bridge.utils.single_process import conversion_process_group


LENGTH = 64

CHATS = (
    ("What is a checkpoint?", "A checkpoint is what a training run has learned so far, written to a disk."),
    ("What is a tracker?", "The tracker is a small file. It names the checkpoint from which a run goes on."),
)


class Run(NamedTuple):
    """A run of Megatron-LM: the iteration that it loaded, and the loss of each iteration."""

    start: int
    losses: dict[int, float]


class Life(NamedTuple):
    """A root that has been fine-tuned twice."""

    hf: Path
    root: Path
    chats: Path
    runs: list[Run]
    release: dict[str, tuple[int, int]]


def _chats(path: Path) -> Path:
    conversations = (
        [
            {"role": "system", "content": "You answer in one sentence."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        for question, answer in CHATS
    )
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in conversations))
    return path


def _stats(folder: Path) -> dict[str, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def _example(name: str, *words: str | Path, path: str = "") -> Run:
    """Run an example with Megatron-LM's own training, on the CPU."""
    command = shlex.join(["bash", str(EXAMPLES / name), *map(str, words)])
    variables = {"PATH": f"{path}{Path(sys.executable).parent}:{os.environ['PATH']}"} if path else {}
    done = run(command, cwd=EXAMPLES.parent, MEGATRON_LM=str(SUPPORT), **variables)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (start,) = re.findall(r"successfully loaded checkpoint from .* at iteration (\d+)", done.stdout)
    return Run(int(start), losses(done.stdout))


@pytest.fixture(scope="module")
def life(smollm2, tmp_path_factory) -> Life:
    """SmolLM2 in float32, imported by the launcher's hook, and twice three iterations of the example."""
    folder = tmp_path_factory.mktemp("life")
    hf, root = folder / "hf", folder / "root"
    load_hf(smollm2).save_pretrained(hf)
    AutoTokenizer.from_pretrained(smollm2).save_pretrained(hf)
    hooked = before_training(str(hf), str(root))
    assert hooked == before_training(str(hf), str(root)), "a second start converts nothing"
    release = _stats(root / "release")
    chats = _chats(folder / "chats.jsonl")
    flags = f"--seq-length {LENGTH} --global-batch-size 2 --train-iters 6 --exit-interval 3 --lr 1e-4"
    # Each loss is of its iteration, and the first rate is not zero.
    flags += " --log-interval 1 --lr-warmup-fraction 0 --lr-decay-style constant --num-workers 0"
    runs = [_example("sft.sh", root, chats, *flags.split()) for _ in range(2)]
    return Life(hf, root, chats, runs, release)


@pytest.fixture(scope="module")
def trained(life) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens of real text, and the logits and the embedding of what Megatron-LM has saved last."""
    tokens = AutoTokenizer.from_pretrained(life.hf)(CHATS[0][1], return_tensors="pt").input_ids
    with megatron_lm([*release_flags(life.root), *TRAINED_LOCALLY]) as args:
        model, iteration = load(args)
        assert iteration == 6
        return tokens, logits(model, tokens), model.state_dict()["embedding.word_embeddings.weight"]


def test_fine_tuning_starts_at_the_release_and_resumes(life):
    assert [each.start for each in life.runs] == [0, 3]
    assert [list(each.losses) for each in life.runs] == [[1, 2, 3], [4, 5, 6]]
    assert (life.root / TRACKER).read_text() == "6"
    assert {path.name for path in life.root.iterdir() if path.is_dir()} == {"release", "iter_0000003", "iter_0000006"}


def test_optimizer_step_continues_after_resume(life):
    with conversion_process_group():
        for steps in (3, 6):
            common_state = load_common_state_dict(str(life.root / f"iter_000000{steps}"))
            assert common_state["optimizer"]["state"]["common_step"] == steps


def test_first_loss_matches_source_model_and_loss_falls(life):
    found = [loss for each in life.runs for loss in each.losses.values()]
    assert found == sorted(found, reverse=True) and found[-1] < found[0] / 2
    # In Megatron-LM's default format every token counts but the padding's, which is the end of text here.
    hf = load_hf(life.hf)
    tokenizer = AutoTokenizer.from_pretrained(life.hf)
    assert tokenizer.pad_token_id is None
    hugging_face = []
    for line in life.chats.read_text().splitlines():
        tokens = tokenizer.apply_chat_template(json.loads(line)["messages"], return_tensors="pt").input_ids[:, :LENGTH]
        targets = tokens[0, 1:]
        losses_of_tokens = cross_entropy(hf_logits(hf, tokens)[0, :-1], targets, reduction="none")
        hugging_face.append(losses_of_tokens[targets != tokenizer.eos_token_id])
    assert found[0] == pytest.approx(float(torch.cat(hugging_face).mean()), rel=1e-4)


def test_training_keeps_release_unchanged(life):
    assert _stats(life.root / "release") == life.release


def test_bridge_exports_latest_megatron_lm_checkpoint(life, trained, tmp_path):
    tokens, expected, _ = trained
    AutoBridge.from_hf_pretrained(life.hf).export_ckpt(life.root, tmp_path / "hf", show_progress=False)
    assert wrong_logits(hf_logits(load_hf(tmp_path / "hf"), tokens), expected) == []
    before = hf_logits(load_hf(life.hf), tokens)
    assert float((before - expected).abs().max()) > 1, "the training changed the model"


def test_bridge_training_loads_latest_megatron_lm_checkpoint(life, trained):
    *_, expected = trained
    model = training_load(
        lambda state, model: load_checkpoint(state, model, None, None),
        hf=life.hf,
        load=str(life.root),
        dist_ckpt_strictness="ignore_all",
    )
    assert torch.equal(model.state_dict()["embedding.word_embeddings.weight"].float(), expected)


def test_bridge_finds_tokenizer_and_model_of_a_training(life):
    assert get_hf_model_id_from_checkpoint(life.root) == str(life.hf)
    assert load_tokenizer(str(life.root)).vocab_size == 49152
    config = AutoBridge.from_auto_config(life.root, str(life.hf)).hf_pretrained
    assert (config.num_hidden_layers, config.hidden_size) == (30, 576)


def test_pretrained_checkpoint_loads_release_at_iteration_0(tiny, tmp_path):
    flags = release_flags(tiny.root, load_from=tmp_path)
    tokens = torch.arange(40)[None]
    with megatron_lm([*flags, "--pretrained-checkpoint", str(tiny.root)]) as args:
        model, iteration = load(args)
        assert iteration == 0
        found = logits(model, tokens)
    assert wrong_logits(found, hf_logits(load_hf(tiny.hf), tokens)) == []


def test_export_removes_vocabulary_padding_of_megatron_lm(tmp_path):
    hf, root = make_tiny_llama(tmp_path / "hf", "padded-vocabulary"), tmp_path / "root"
    AutoBridge.import_ckpt(hf, root, release=True)
    with megatron_lm(
        [*release_flags(root), "--save", str(root), "--save-interval", "1", "--no-save-optim", "--no-save-rng"]
    ) as args:
        model, _ = load(args)
        embedding = model.state_dict()["embedding.word_embeddings.weight"]
        assert len(embedding) == args.padded_vocab_size == 512
        save_checkpoint(1, [model], None, None, 0)
    assert (root / TRACKER).read_text() == "1"
    AutoBridge.from_hf_pretrained(hf).export_ckpt(root, tmp_path / "exported", show_progress=False)
    expected, found = (load_file(folder / "model.safetensors") for folder in (hf, tmp_path / "exported"))
    assert found.keys() == expected.keys() and len(expected["model.embed_tokens.weight"]) < 512
    assert all(torch.equal(found[name].to(tensor.dtype), tensor) for name, tensor in expected.items())


@pytest.mark.exhaustive
def test_install_without_dependencies_adds_the_bridge_only(tiny, tmp_path, upstream_wheel, monkeypatch):
    """The container is a virtual environment that sees this one's packages and has none of its own."""
    monkeypatch.setenv("MEGATRON_BRIDGE_UPSTREAM", str(upstream_wheel))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    venv.create(tmp_path / "venv", with_pip=True)
    (site,) = (tmp_path / "venv/lib").glob("*/site-packages")
    before = {path.name for path in site.iterdir()}
    (site / "image.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    torchrun = tmp_path / "venv/bin/torchrun"
    _, _, body = Path(sys.executable).with_name("torchrun").read_text().partition("\n")
    torchrun.write_text(f"#!{tmp_path}/venv/bin/python\n{body}")
    torchrun.chmod(0o755)
    flags = "--seq-length 32 --global-batch-size 2 --train-iters 1 --exit-interval 1 --log-interval 1".split()
    flags += ["--sft-tokenizer-prompt-format", "identity"]
    done = _example(
        "sft_in_container.sh",
        *(tiny.hf, tmp_path / "root", _chats(tmp_path / "chats.jsonl"), *flags),
        path=f"{tmp_path / 'venv/bin'}:",
    )
    assert done.start == 0
    installed = {path.name for path in site.iterdir()} - before - {"image.pth"}
    assert installed == {"megatron", "megatron_bridge-0.6.2+release.1.dist-info"}
    assert (tmp_path / "root" / TRACKER).read_text() == "1"


@pytest.mark.parametrize(
    ("tracker", "error"),
    [
        ("0", lambda root: MissingReleaseError(root, "other")),
        ("torn", lambda root: InvalidTrackerError(str(root / TRACKER), "torn")),
    ],
    ids=["0", "torn"],
)
def test_hook_refuses_missing_release_or_invalid_tracker(tiny, tmp_path, tracker, error):
    (tmp_path / "root/iter_0000000").mkdir(parents=True)
    (tmp_path / "root" / TRACKER).write_text(tracker)
    with raises(error(tmp_path / "root")):
        before_training(str(tiny.hf), str(tmp_path / "root"))


def test_hook_refuses_release_of_different_or_unknown_model(tiny, other, tmp_path):
    root = shutil.copytree(tiny.root, tmp_path / "root")
    assert before_training(str(tiny.hf), str(root))[-2:] == ["--save", str(root)]
    with raises(SourceMismatchError(root, str(tiny.hf), str(other.hf), ("weights",))):
        before_training(str(other.hf), str(root))
    (root / "release/source.json").unlink()
    with raises(UnknownSourceError(root, str(tiny.hf), None)):
        before_training(str(tiny.hf), str(root))


def _error(name: str, *words: str | Path, **environment: str) -> str:
    command = ["bash", str(EXAMPLES / name), *(str(word) for word in words)]
    done = subprocess.run(
        command,
        env=os.environ | {"MEGATRON_LM": "none"} | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def test_sft_example_fails_without_release(tmp_path):
    (tmp_path / "pretrain_gpt.py").touch()
    chats = _chats(tmp_path / "chats.jsonl")
    path = f"{programs()}:{os.environ['PATH']}"
    error = _error("sft.sh", tmp_path, chats, MEGATRON_LM=str(tmp_path), PATH=path)
    assert error == f"error: {MissingTracker(tmp_path, (), None).text(shell_option)}\n"


@pytest.mark.parametrize(
    "minor, flags, refused", [(16, [], True), (16, ["--sft-tokenizer-prompt-format", "x"], False), (17, [], False)]
)
def test_sft_example_requires_prompt_format_before_core_0_17(tmp_path, minor, flags, refused):
    (tmp_path / "megatron/core").mkdir(parents=True)
    (tmp_path / "megatron/core/package_info.py").write_text(f"MAJOR = 0\nMINOR = {minor}\n")
    (tmp_path / "pretrain_gpt.py").touch()
    chats = _chats(tmp_path / "chats.jsonl")
    path = f"{programs()}:{os.environ['PATH']}"
    error = _error("sft.sh", tmp_path, chats, *flags, MEGATRON_LM=str(tmp_path), PATH=path)
    assert error.startswith(f"error: {tmp_path} has core 0.16" if refused else f"error: {tmp_path} has no latest")


def test_sft_container_refuses_release_of_different_model(tiny, other, tmp_path):
    # Nothing is to be installed.
    (tmp_path / "pip").write_text("#!/bin/sh\n")
    (tmp_path / "pip").chmod(0o755)
    path = f"{tmp_path}:{programs()}:{os.environ['PATH']}"
    error = _error("sft_in_container.sh", other.hf, tiny.root, "chats.jsonl", PATH=path, PYTHONWARNINGS="ignore")
    mismatch = SourceMismatchError(tiny.root, str(tiny.hf), str(other.hf), ("weights",))
    assert error.splitlines()[-1] == f"error: {mismatch.text(shell_option)}"
