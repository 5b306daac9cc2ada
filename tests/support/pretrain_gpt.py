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

"""Stands for Megatron-LM's script of this name, which no wheel carries, as far as a host without CUDA allows.

    torchrun pretrain_gpt.py FLAGS

Takes Megatron-LM's flags, --exit-interval among them. Its own parser, checkpoint loader and writer, SFT data set,
DistributedDataParallel, Adam and training step do the work, in float32 and with the whole sequence as one document.
Prints a line of JSON for each iteration and one with the iteration it began at.
"""

import json
import sys
from functools import partial
from typing import Iterator

import numpy as np
import torch
import torch.distributed as dist
from megatron.core.datasets.gpt_dataset import GPTDatasetConfig
from megatron.core.datasets.utils import Split
from megatron.core.enums import ModelType
from megatron.core.pipeline_parallel import get_forward_backward_func
from megatron.core.tokenizers.utils.build_tokenizer import build_tokenizer
from megatron.core.utils import get_model_config
from megatron.training.checkpointing import save_checkpoint
from megatron.training.datasets.sft_dataset import SFTDataset
from megatron.training.training import setup_model_and_optimizer, train_step
from megatron_lm import build, megatron_lm
from torch.utils.data import default_collate


# Megatron-LM's clipping and its bfloat16 optimizer take CUDA tensors alone, and there is no CUDA generator to save.
CPU_FLAGS = ["--clip-grad", "0", "--no-save-rng"]


def batches(args) -> Iterator[dict[str, torch.Tensor]]:
    """Give the conversations of ``--data-path``, over and over."""
    config = GPTDatasetConfig(
        random_seed=args.seed,
        sequence_length=args.seq_length,
        tokenizer=build_tokenizer(args),
        context_parallel_size=args.context_parallel_size,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )
    (path,) = args.data_path
    conversations = SFTDataset.build_low_level_dataset(path, config)
    indices = np.arange(len(conversations))
    dataset = SFTDataset(conversations, path, indices, len(indices), Split.train, config)
    while True:
        for index in range(len(dataset)):
            yield default_collate([dataset[index]])


def loss(loss_mask: torch.Tensor, losses: torch.Tensor) -> tuple:
    """Sum the losses [batch, length] of the tokens that count, as Megatron-LM's training step wants them."""
    total, tokens = (losses.float() * loss_mask).sum(), loss_mask.sum().int()
    return total, tokens, {"lm loss": torch.stack([total.detach(), tokens.float()])}


def forward(data: Iterator[dict[str, torch.Tensor]], model: torch.nn.Module) -> tuple:
    """Run the model on one batch."""
    batch = next(data)
    length = batch["tokens"].shape[1]
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).triu(1)
    losses = model(batch["tokens"], batch["position_ids"], mask, labels=batch["labels"])
    return losses, partial(loss, batch["loss_mask"])


def main() -> None:
    """Load, train, save."""
    dist.init_process_group("gloo")
    flags = [flag for flag in sys.argv[1:] if flag != "--bf16"]
    with megatron_lm([*flags, *CPU_FLAGS]) as args:
        model, optimizer, scheduler = setup_model_and_optimizer(
            ModelType.encoder_or_decoder, lambda pre_process, post_process, **_: build(args).train()
        )
        print(json.dumps({"began at": args.iteration}), flush=True)
        data = batches(args)
        for _ in range(args.iteration):
            next(data)
        config, schedule = get_model_config(model[0]), get_forward_backward_func()
        last = args.exit_interval * (args.iteration // args.exit_interval + 1)
        for iteration in range(args.iteration, last):
            losses, *_ = train_step(forward, data, model, optimizer, scheduler, config, schedule, iteration)
            print(json.dumps({"iteration": iteration + 1, "loss": float(losses["lm loss"])}), flush=True)
        save_checkpoint(last, model, optimizer, scheduler, 0)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
