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

"""Runs the commands that users copy with Megatron-LM's script, on a host without CUDA, and compares what it loads."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from hf_logits import LOGITS_BOUND, hf_logits, load_hf, wrong_logits
from model_record import TOKENS
from models import FAMILIES, megatron_tensors, save_random_model
from transformers import AutoConfig, AutoModelForCausalLM
from workers import TIMEOUT, programs


SUPPORT = Path(__file__).parent
REPOSITORY = SUPPORT.parents[1]

# Megatron Core's own modules, which run without CUDA and Transformer Engine.
CPU_FLAGS = (
    *("--distributed-backend", "gloo", "--use-cpu-initialization", "--transformer-impl", "local"),
    *("--no-persist-layer-norm", "--no-masked-softmax-fusion", "--no-gradient-accumulation-fusion"),
    *("--no-rope-fusion", "--no-bias-swiglu-fusion", "--no-bias-dropout-fusion"),
)
# Three iterations of small batches a run, with an evaluation; the second run continues after the third.
SHORT = (
    *("--seq-length", "64", "--global-batch-size", "2", "--train-iters", "6", "--exit-interval", "3"),
    *("--eval-interval", "2", "--eval-iters", "1", "--log-interval", "1", "--num-workers", "0"),
)


def readme_command(root: Path) -> str:
    """Return the training command of the README for a root."""
    (command,) = re.findall(
        r"^PET_NPROC_PER_NODE=8 (\$\(.*?--mock-data)$", (REPOSITORY / "README.md").read_text(), re.S | re.M
    )
    return command.replace("CKPT", str(root))


def run(
    command: str, flags: tuple[str, ...] = (), *, cwd: Path, record: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a user's command on the CPU.

    Args:
        command: Command of a shell.
        flags: More flags of Megatron-LM.
        cwd: Directory to run it in.
        record: File for the record of the model (`model_record.py`).
        **environment: More variables.
    """
    paths = (SUPPORT / "cpu_site", SUPPORT, *os.environ.get("PYTHONPATH", "").split(":"))
    variables = {
        "CUDA_VISIBLE_DEVICES": "",
        "MEGATRON_LM_ON_CPU": "1",
        # Core 0.15 builds the flags of a kernel when it is imported.
        "TORCH_CUDA_ARCH_LIST": "9.0",
        # Core 0.14 compiles with the python3-config of the PATH.
        "PATH": f"{programs()}:{sys.base_prefix}/bin:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(str(path) for path in paths if str(path)),
        **({"MODEL_RECORD": str(record)} if record else {}),
    }
    words = " ".join((command, *flags, *CPU_FLAGS))
    environment = os.environ | variables | environment
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def losses(output: str) -> dict[int, float]:
    """Return the training loss of each iteration that Megatron-LM's log has."""
    lines = re.findall(r"iteration +(\d+)/ .*lm loss: (\S+) \|", output)
    return {int(iteration): float(loss) for iteration, loss in lines}


def loaded_differences(record: Path, hf: Path) -> list[str]:
    """Compare what Megatron-LM has loaded with a Hugging Face Llama; return what differs."""
    found, model = torch.load(record), load_hf(hf)
    parameters = found["parameters"]
    rows = len(parameters["embedding.word_embeddings.weight"])
    expected = megatron_tensors(model, rows, "local")
    differences = sorted(parameters.keys() ^ expected.keys())
    differences += [
        name
        for name in parameters.keys() & expected.keys()
        if not torch.equal(parameters[name].float(), expected[name])
    ]
    if not torch.equal(found["inv_freq"], model.model.rotary_emb.inv_freq):
        differences.append("inv_freq")
    logits = found["logits"][..., : model.config.vocab_size]
    if parameters["embedding.word_embeddings.weight"].dtype == torch.float32:
        differences += wrong_logits(logits, hf_logits(model, TOKENS))
    return differences


def make_llama(folder: Path, *, factor: float | None = None, dtype: torch.dtype) -> Path:
    """Save a random Llama with a vocabulary large enough for Megatron-LM's mock data.

    Args:
        folder: Folder to write.
        factor: Rope scaling factor of Llama 3; None for a rope without scaling.
        dtype: Dtype of the saved weights.
    """
    config = FAMILIES["Llama 2" if factor is None else "Llama 3.2 (rope scaling, tied)"].config
    changes: dict[str, Any] = {"vocab_size": 8190}
    if factor is not None:
        changes |= {"rope_parameters": config.rope_parameters | {"factor": factor}, "max_position_embeddings": 131072}
    save_random_model(folder, type(config)(**config.to_diff_dict() | changes))
    if dtype != torch.bfloat16:
        AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).save_pretrained(folder)
    return folder


def factor_matters(hf: Path) -> bool:
    """Return whether a model with Megatron-LM's built-in rope scaling factor, 8, has other logits."""
    config = AutoConfig.from_pretrained(hf)
    config.rope_parameters = config.rope_parameters | {"factor": 8.0}
    model = load_hf(hf)
    expected = hf_logits(model, TOKENS)
    found = hf_logits(type(model).from_pretrained(hf, config=config, dtype=torch.float32).eval(), TOKENS)
    return float((found - expected).abs().max()) > 10 * LOGITS_BOUND * float(expected.abs().max())
