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

"""What the tests do on two ranks, in one torchrun: write releases at every layout, and read one back.

    torchrun --nproc-per-node 2 parallel_worker.py HF_MODEL TP1_RELEASE HF_MOE_MODEL OUT

Writes OUT/tp2, OUT/pp2 and OUT/dp2, and of the model with experts OUT/ep2; and OUT/reads.json: for each reader and
layout, the parameters that are not bit-equal to their Hugging Face tensor, of all ranks, or how far the logits of
the model with experts are from Hugging Face's. And OUT/alone0.json and OUT/alone1.json: what each rank, while the
other waits, is told of a release.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron.core import parallel_state
from megatron_lm import llama_flags, load, logits, megatron_lm
from models import megatron_tensors
from tp_layout import wrong
from transformers import AutoConfig, AutoModelForCausalLM

from megatron.bridge import AutoBridge
from megatron.bridge.release.layout import FLAGS_FILE
from megatron.bridge.training.model_load_save import load_model_config, load_tokenizer
from megatron.bridge.training.utils.checkpoint_resolver import read_tracker, resolve_checkpoint_folder


LAYOUTS = {"tp2": (2, 1), "pp2": (1, 2)}


def write(hf: str, root: Path, tp: int = 1, pp: int = 1, ep: int = 1) -> None:
    """Import a model at a layout."""
    bridge = AutoBridge.from_hf_pretrained(hf)
    provider = bridge.to_megatron_provider()
    provider.tensor_model_parallel_size = tp
    provider.pipeline_model_parallel_size = pp
    provider.expert_model_parallel_size = ep
    provider.finalize()
    provider.initialize_model_parallel(seed=0)
    model = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
    bridge.save_megatron_model(model, root, hf_tokenizer_path=hf, release=True)
    parallel_state.destroy_model_parallel()


def read(hf: str, root: str) -> dict[str, list[str]]:
    """Load the release at each layout, with Megatron-LM and with Bridge."""
    config = AutoConfig.from_pretrained(hf)
    padded = -(-config.vocab_size // 256) * 256
    hf_model = AutoModelForCausalLM.from_pretrained(hf)
    expected = {
        "megatron_lm": megatron_tensors(hf_model, padded),
        "bridge": megatron_tensors(hf_model, config.vocab_size),
    }
    outcome = {}
    for name, (tp, pp) in LAYOUTS.items():
        flags = ["--tensor-model-parallel-size", str(tp), "--pipeline-model-parallel-size", str(pp)]
        with megatron_lm([*llama_flags(config, padded), *flags, "--load", root]) as args:
            model, _ = load(args)
            outcome[f"megatron_lm {name}"] = wrong(model, expected["megatron_lm"], config.num_hidden_layers)

        parallel_state.initialize_model_parallel(tp, pp)
        overrides = {"tensor_model_parallel_size": tp, "pipeline_model_parallel_size": pp}
        bridge = AutoBridge.from_hf_pretrained(hf)
        model = bridge.load_megatron_model(root, mp_overrides=overrides, wrap_with_ddp=False)[0]
        outcome[f"bridge {name}"] = wrong(model, expected["bridge"], config.num_hidden_layers)
        parallel_state.destroy_model_parallel()
    return outcome


def flags_of(root: Path) -> dict[str, list[str]]:
    """The two ways to start Megatron-LM from a release."""
    flags = (root / "release" / FLAGS_FILE).read_text().split()
    return {"flags file": flags, "use_checkpoint_args": [*flags, "--use-checkpoint-args"]}


def read_experts(hf: str, root: Path, flags: list[str]) -> list[str]:
    """Load a release with half of its experts on each rank; say where the logits are not Hugging Face's."""
    flags = [*(flag for flag in flags if flag != "--bf16"), "--load", str(root)]
    tokens = torch.arange(48)[None]
    expected = hf_logits(load_hf(hf), tokens)
    with megatron_lm([*flags, "--expert-model-parallel-size", "2"]) as args:
        model, _ = load(args)
        experts = sum(".mlp.experts." in name for name, _ in model.named_parameters())
        found = logits(model, tokens)[..., : expected.shape[-1]]
    problems = wrong_logits(found, expected)
    # Two linear layers for each of two experts of each of two layers.
    return problems if experts == 8 else [*problems, f"{experts} parameters of experts"]


def look_alone(hf: str, root: str, out: Path) -> None:
    """Ask a release, on each rank in turn, what it holds; the other rank takes no part in it."""
    for rank in range(dist.get_world_size()):
        if rank == dist.get_rank():
            told = {
                "hf_model_id": AutoBridge.get_hf_model_id_from_checkpoint(root),
                "vocab_size": load_tokenizer(root).vocab_size,
                "num_layers": load_model_config(root)[0].num_layers,
                "hidden_size": AutoBridge.from_auto_config(root, hf).hf_pretrained.hidden_size,
                "tracker": read_tracker(root),
                "folder": resolve_checkpoint_folder(root),
            }
            (out / f"alone{rank}.json").write_text(json.dumps(told))
        # Ends with an error where the other rank waits in a reader for this one.
        dist.monitored_barrier(timeout=timedelta(minutes=2))


def main() -> None:
    """Write, read, and gather what every rank found."""
    hf, root, moe, out = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    dist.init_process_group("gloo")
    look_alone(hf, root, out)
    for name, (tp, pp) in LAYOUTS.items():
        write(hf, out / name, tp, pp)
        write(str(out / "odd"), out / f"odd-{name}", tp, pp)
    try:
        AutoBridge.import_ckpt(out / "less", out / "less-root", release=True)
    except ValueError as error:
        (out / f"less{dist.get_rank()}.txt").write_text(str(error))
    AutoBridge.import_ckpt(hf, out / "dp2", release=True)
    parallel_state.destroy_model_parallel()
    write(moe, out / "ep2", ep=2)
    mine = read(hf, root)
    for way, flags in flags_of(out / "ep2").items():
        mine[f"megatron_lm ep2, {way}"] = read_experts(moe, out / "ep2", flags)
    ranks: list = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, mine)
    if dist.get_rank() == 0:
        everyone = {case: sum((rank[case] for rank in ranks), []) for case in mine}
        (out / "reads.json").write_text(json.dumps(everyone))
    dist.destroy_process_group()


main()
