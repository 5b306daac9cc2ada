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

"""The batch scripts run on two nodes. What stands for Slurm starts the same command for each node, on this host."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron_lm import load, logits, megatron_lm
from roots import tree
from training_runs import CPU_FLAGS
from workers import EXAMPLES, SUPPORT, TIMEOUT, WITHOUT_CUDA, programs

from megatron.bridge.release.layout import TRACKER
from megatron.bridge.release.verify.launch import launch_flags


TOKENS = torch.arange(40)[None]

_SRUN = """#!/bin/bash
pids=()
for node in $(seq "$SLURM_NNODES"); do "$@" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
"""
_SCONTROL = """#!/bin/bash
[ "$*" = "show hostnames $SLURM_JOB_NODELIST" ] && printf 'localhost\\nlocalhost\\n'
"""


@pytest.fixture
def batch(tmp_path):
    """Run a batch script on two nodes of one rank, and return what it printed."""
    slurm = tmp_path / "slurm"
    slurm.mkdir()
    for name, text in (("srun", _SRUN), ("scontrol", _SCONTROL)):
        (slurm / name).write_text(text)
        (slurm / name).chmod(0o755)

    def run(script: str, *words: str | Path, status: int = 0) -> str:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        variables = {
            **{"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_ID": "7", "PORT": str(port)},
            "PATH": f"{slurm}:{programs()}:{os.environ['PATH']}",
            "PYTHONPATH": f"{SUPPORT / 'cpu_site'}:{SUPPORT}",
            "MEGATRON_LM": str(SUPPORT),
            # An import needs no stand-in for CUDA.
            **({"MEGATRON_LM_ON_CPU": "1"} if script == "sft.sbatch" else {}),
            "RANKS": "1",
            "PET_NPROC_PER_NODE": "1",
        }
        done = subprocess.run(
            ["bash", EXAMPLES / script, *words],
            cwd=EXAMPLES.parent,
            env=os.environ | WITHOUT_CUDA | variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    return run


def test_batch_scripts_import_and_train_on_two_nodes(tiny, tmp_path, batch):
    root = tmp_path / "root"
    said = batch("import.sbatch", tiny.hf, root, "--no-logit-check")
    assert said.count("Importing ") == 1 and said.count("torchrun pretrain_gpt.py ") == 1
    assert {"release/__0_0.distcp", "release/__1_0.distcp"} < set(tree(root))
    with megatron_lm(
        [flag for flag in launch_flags(root, root / "release", root / "release").flags if flag != "--bf16"]
    ) as args:
        model, _ = load(args)
        assert wrong_logits(logits(model, TOKENS), hf_logits(load_hf(tiny.hf), TOKENS)) == []

    chats = tmp_path / "chats.jsonl"
    chats.write_text(
        json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    )
    flags = "--seq-length 32 --global-batch-size 2 --train-iters 1 --exit-interval 1".split()
    batch("sft.sbatch", root, chats, *flags, "--sft-tokenizer-prompt-format", "identity", *CPU_FLAGS)
    assert (root / TRACKER).read_text() == "1"


def test_import_job_fails_when_import_is_refused(tiny, batch):
    said = batch("import.sbatch", tiny.hf, tiny.root, status=1)
    assert f"error: {tiny.root} already contains a checkpoint" in said
