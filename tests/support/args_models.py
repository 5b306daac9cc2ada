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

"""Models whose arguments are asked for, and Megatron-LM's own parser of them."""

import argparse
import functools
from importlib.metadata import version

import torch
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec
from megatron.training.arguments import add_megatron_arguments

from megatron.bridge.models.gpt_provider import GPTModelProvider
from megatron.bridge.release.megatron_args.flag_table import Argument


SIZES = dict(num_layers=2, hidden_size=64, num_attention_heads=4, vocab_size=1000, seq_length=128)


def gpt_model(cls: type = GPTModelProvider, **values):
    """Make a small model's provider, of a class and with fields of one's own."""
    return cls(**SIZES | dict(transformer_layer_spec=get_gpt_decoder_block_spec, params_dtype=torch.bfloat16) | values)


@functools.cache
def parser() -> argparse.ArgumentParser:
    """Return Megatron-LM's own parser, which raises where it would exit."""
    return add_megatron_arguments(argparse.ArgumentParser(exit_on_error=False))


def options() -> dict[str, argparse.Action]:
    """Return what the parser has for each flag."""
    return {option: action for action in parser()._actions for option in action.option_strings}


def no_flag(argument: Argument) -> str:
    """Return the message that the pinned core has no flag for an argument."""
    return f"megatron-core {version('megatron-core')} has no flag {argument.flag}, which is to give {argument.name}"
