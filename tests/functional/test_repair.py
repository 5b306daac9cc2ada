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

"""`repair` converts imports of upstream's, and those modified by a hook, to releases."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from hf_logits import hf_logits, load_hf, wrong_logits
from hf_tensors import assert_exported
from hook_states import STATES
from megatron.core.dist_checkpointing.validation import verify_integrity_manifest
from megatron_lm import load, logits, megatron_lm
from models import make_tiny_llama, megatron_tensors
from roots import SHARD, contents, stored_args, tree

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.repair.run import repair
from megatron.bridge.release.verify.check import check


@pytest.fixture(params=STATES)
def state(request, default, tmp_path) -> Path:
    """A root that upstream or a hook has left."""
    root = Path(shutil.copytree(default, tmp_path / "root"))
    STATES[request.param](root)
    return root


def _args(root: Path) -> dict:
    args = vars(stored_args(root))
    assert args.pop("tokenizer_model") == str(root / "release" / "tokenizer")
    return args


def test_repair_converts_import_without_rewriting_tensors(state, tiny, capsys):
    before, (shard,) = contents(state), state.rglob(SHARD)
    inode = shard.stat().st_ino
    assert not check(state).passed

    assert main(["repair", str(state), "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert contents(state) == before

    assert main(["repair", str(state)]) == 0
    assert capsys.readouterr().out == plan != ""
    after = contents(state)
    # Upstream writes its tensors to one file, and no config beside the tokenizer.
    # Upstream saves the tokenizer as transformers writes it, without the source's config.
    imported = {name for name in tree(tiny.root) if not name.endswith(".distcp")} - {"release/tokenizer/config.json"}
    assert after.keys() == imported | {f"release/{SHARD}"}
    assert (after[TRACKER], (state / "release" / SHARD).stat().st_ino) == (b"release", inode)
    assert _args(state) == _args(tiny.root)
    assert after["release/megatron_lm_args.txt"] == contents(tiny.root)["release/megatron_lm_args.txt"]
    kept = ("release/.metadata", f"release/{SHARD}", "release/run_config.yaml", "release/tokenizer/tokenizer.json")
    assert {after[name] for name in kept} <= set(before.values())
    report = check(state)
    assert report.passed and not report.notes

    assert main(["repair", str(state)]) == 0
    assert capsys.readouterr().out == "nothing to do\n"
    assert contents(state) == after


def test_repaired_release_is_read_bit_for_bit(state, tiny, tmp_path):
    repair(state)
    hf = load_hf(tiny.hf)
    flags = ["--load", str(state), "--exit-on-missing-checkpoint", "--use-checkpoint-args", "--norm-epsilon=1e-06"]
    with megatron_lm(flags) as args:
        model, iteration = load(args)
        found, expected = dict(model.named_parameters()), megatron_tensors(hf, tiny.padded_vocab_size)
        assert iteration == 0 and found.keys() == expected.keys()
        assert all(torch.equal(found[name].float(), tensor) for name, tensor in expected.items())
        tokens = torch.arange(48)[None]
        assert wrong_logits(logits(model, tokens)[..., :512], hf_logits(hf, tokens)) == []
    assert_exported(tiny.hf, state, tmp_path / "hf")


def test_relative_tokenizer_becomes_the_copy_in_the_release(tiny, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tiny.hf, tmp_path / "here/hf")
    monkeypatch.chdir(tmp_path / "here")
    AutoBridge.import_ckpt("hf", "root")
    monkeypatch.chdir(tmp_path / "elsewhere")
    repair(Path("../here/root"))
    root = tmp_path / "here/root"
    args = stored_args(root)
    assert os.path.isabs(args.tokenizer_model) and os.path.samefile(args.tokenizer_model, root / "release/tokenizer")
    assert check(root).passed and check(root).source_model == "hf"


def test_unpadded_vocabulary_is_recorded(tmp_path):
    hf = make_tiny_llama(tmp_path / "hf", "padded-vocabulary")
    AutoBridge.import_ckpt(hf, tmp_path / "root")
    repair(tmp_path / "root")
    args = _args(tmp_path / "root")
    assert (args["vocab_size"], args["padded_vocab_size"], args["make_vocab_size_divisible_by"]) == (500, 500, 4)
    assert check(tmp_path / "root").passed
    flags = ["--load", str(tmp_path / "root"), "--exit-on-missing-checkpoint", "--use-checkpoint-args"]
    with megatron_lm([*flags, "--norm-epsilon=1e-06"]) as args:
        model, _ = load(args)
        expected = megatron_tensors(load_hf(hf), 500)
        found = dict(model.named_parameters())
        assert all(torch.equal(found[name].float(), tensor) for name, tensor in expected.items())


def test_files_may_have_any_name(default, tmp_path):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    for name in ("two\nlines", "back\\slash", "\udcff"):
        (root / "iter_0000000" / name).write_text("")
    repair(root)
    assert check(root).passed and not check(root).notes
    verify_integrity_manifest(str(root / "release"))


@pytest.mark.parametrize("name", ["train_state.pt", "common.pt", "megatron_lm_args.txt", "integrity.json"])
def test_missing_file_of_a_release_is_written(name, tiny, tmp_path):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    repair(root)
    (root / "release" / name).unlink()
    assert not check(root).passed
    repair(root)
    assert check(root).passed and contents(root).keys() == contents(tiny.root).keys()
