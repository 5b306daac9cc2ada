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

"""Stands for Megatron-LM's script of this name, which no wheel contains.

    torchrun pretrain_gpt.py FLAGS

Everything is Megatron-LM's own code from the installed wheel: parser, `pretrain`, builder, data sets, loader, training,
evaluation and writer. This file contains only what Megatron-LM expects of a script: the data sets to build and the
forward step. On a host without CUDA, run it with `cpu_site`.
"""

import sys
from functools import partial
from typing import Any, Iterator

import torch
from megatron.core.datasets import utils as dataset_utils
from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig, MockGPTDataset
from megatron.core.enums import ModelType
from megatron.core.tokenizers.utils.build_tokenizer import build_tokenizer
from megatron.training import get_args, get_timers, pretrain
from megatron.training.argument_utils import gpt_config_from_args, pretrain_cfg_container_from_args
from megatron.training.arguments import parse_and_validate_args
from megatron.training.datasets.sft_dataset import SFTDataset
from megatron.training.utils import get_blend_and_blend_per_split


def build_datasets(sizes: list[int], vp_stage: int | None = None) -> list[Any]:
    """Build the training, validation and test set of these sizes."""
    args = get_args()
    blend, blend_per_split = get_blend_and_blend_per_split(args)
    config = GPTDatasetConfig(
        random_seed=args.seed,
        sequence_length=args.seq_length,
        blend=blend,
        blend_per_split=blend_per_split,
        split=args.split,
        tokenizer=build_tokenizer(args),
        context_parallel_size=args.context_parallel_size,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=args.eod_mask_loss,
        create_attention_mask=args.create_attention_mask_in_dataloader,
    )
    kind = SFTDataset if args.sft else MockGPTDataset if args.mock_data else GPTDataset
    return BlendedMegatronDatasetBuilder(kind, sizes, lambda: True, config).build()


def loss(loss_mask: torch.Tensor, losses: torch.Tensor) -> tuple:
    """Return the loss of one batch: its sum, the number of its tokens, and both for the log."""
    total, tokens = (losses.float() * loss_mask).sum(), loss_mask.sum().int()
    return total, tokens, {"lm loss": torch.stack([total.detach(), tokens.float()])}


def forward_step(data: Iterator[dict[str, torch.Tensor]], model: torch.nn.Module) -> tuple:
    """Run the model on one batch. Conversations of a sequence are one document: packing needs Transformer Engine."""
    timer = get_timers()("batch-generator", log_level=2)
    timer.start()
    batch = next(data)
    timer.stop()
    length = batch["tokens"].shape[1]
    mask = batch.get("attention_mask", torch.ones(1, 1, length, length, dtype=torch.bool).triu(1))
    losses = model(batch["tokens"], batch["position_ids"], mask, labels=batch["labels"])
    return losses, partial(loss, batch["loss_mask"])


def main() -> None:
    """Train."""
    # A process that Megatron Core spawns would import this script again, and uses nothing of it.
    del sys.modules["__main__"].__file__
    # The wheel contains the compiled functions and no Makefile.
    dataset_utils.compile_helpers = lambda: None
    args = parse_and_validate_args(args_defaults={"tokenizer_type": "GPT2BPETokenizer"})
    config = pretrain_cfg_container_from_args(args, gpt_config_from_args(args))
    pretrain(config, build_datasets, ModelType.encoder_or_decoder, forward_step)


if __name__ == "__main__":
    main()
