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

"""What a model of a few megabytes does not show, on a random Llama of the 3.2-1B shape: batches, shards, memory."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator

import pytest
import torch
from hf_tensors import assert_same_tensors
from memory import anonymous
from models import LLAMA_1B, make_tiny_llama
from transformers import LlamaConfig, LlamaForCausalLM


pytestmark = pytest.mark.large

_IMPORT = "import sys; from megatron.bridge import AutoBridge; AutoBridge.import_ckpt(*sys.argv[1:], release=True)"
_EXPORT = (
    "import sys; from megatron.bridge import AutoBridge; "
    "AutoBridge.from_hf_pretrained(sys.argv[1]).export_ckpt(*sys.argv[2:], show_progress=False)"
)
_GIB = 1 << 30


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with the model ``hf`` in shards of a gigabyte; gone afterwards, since it is large."""
    folder = Path(tempfile.mkdtemp(prefix="large-"))
    try:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            torch.manual_seed(0)
            LlamaForCausalLM(LlamaConfig(**LLAMA_1B)).save_pretrained(folder / "hf", max_shard_size="1GB")
        finally:
            torch.set_default_dtype(before)
        tokenizer = make_tiny_llama(folder / "tiny", "gqa-tied")
        for file in tokenizer.glob("tokenizer*"):
            shutil.copy(file, folder / "hf")
        yield folder
    finally:
        shutil.rmtree(folder)


def _run(what: str, *words: str | Path) -> str:
    """Run Python in a process of its own, and print what it took.

    The peak is of what the process has for itself: the pages of files that it looks into are the kernel's to take.
    """
    started, peak = time.monotonic(), 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *map(str, words)], stdout=output, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.02)
        output.seek(0)
        shown = output.read()
    assert process.returncode == 0, shown
    print(f"\n{what}: {time.monotonic() - started:.1f} s, {peak / _GIB:.1f} GiB", end="", flush=True)
    return shown


def test_large_model_passes_checks_and_exports_bit_for_bit(folder):
    hf, root, out = folder / "hf", folder / "root", folder / "exported"
    assert len(list(hf.glob("*.safetensors"))) > 2
    check = ("-m", "megatron.bridge.release", "check", root)
    _run("import", "-c", _IMPORT, hf, root)
    assert "OK: the checkpoint can be loaded." in _run("check", *check)
    shown = _run("check --deep", *check, "--deep", hf)
    assert f"146 tensors match {hf} bit for bit, " in shown
    shown = _run("check --compute", *check, "--compute", hf)
    assert f"Logits match {hf}: " in shown and "at 256 of 256 positions, all 16 layers." in shown
    _run("export", "-c", _EXPORT, hf, root, out)
    compared = assert_same_tensors(out, hf)
    print(f"\nexported again, bit for bit: {compared} tensors; {os.cpu_count()} cores")
    assert compared == 146
