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

    torchrun --nproc-per-node 2 parallel_worker.py HF_MODEL TP1_RELEASE OUT

Writes OUT/tp2, OUT/pp2 and OUT/dp2, and OUT/reads.json: for each reader and layout, the parameters
that are not bit-equal to their Hugging Face tensor, of all ranks.
"""

import json
import sys
from pathlib import Path

import torch.distributed as dist
from layout import wrong
from megatron.core import parallel_state
from megatron_lm import llama_flags, load, megatron_lm
from models import megatron_tensors
from transformers import AutoConfig, AutoModelForCausalLM

from megatron.bridge import AutoBridge


LAYOUTS = {"tp2": (2, 1), "pp2": (1, 2)}


def write(hf: str, out: Path) -> None:
    """Import the model at each layout."""
    for name, (tp, pp) in LAYOUTS.items():
        bridge = AutoBridge.from_hf_pretrained(hf)
        provider = bridge.to_megatron_provider()
        provider.tensor_model_parallel_size = tp
        provider.pipeline_model_parallel_size = pp
        provider.finalize()
        provider.initialize_model_parallel(seed=0)
        model = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        bridge.save_megatron_model(model, out / name, hf_tokenizer_path=hf, release=True)
        parallel_state.destroy_model_parallel()
    AutoBridge.import_ckpt(hf, out / "dp2", release=True)
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


def main() -> None:
    """Write, read, and gather what every rank found."""
    hf, root, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    write(hf, out)
    mine = read(hf, root)
    ranks: list = [None] * dist.get_world_size()
    dist.all_gather_object(ranks, mine)
    if dist.get_rank() == 0:
        everyone = {case: sum((rank[case] for rank in ranks), []) for case in mine}
        (out / "reads.json").write_text(json.dumps(everyone))
    dist.destroy_process_group()


main()
