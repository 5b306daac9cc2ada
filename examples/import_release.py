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

"""Imports a Hugging Face model as the release checkpoint that Megatron-LM fine-tunes from.

    python examples/import_release.py HF_MODEL OUT
    torchrun --nproc-per-node 2 examples/import_release.py HF_MODEL OUT --tensor-model-parallel-size 2

The parallel sizes are those of the conversion alone: a checkpoint loads at any other.
"""

import argparse
import os
import sys

import torch

from megatron.bridge import AutoBridge
from megatron.bridge.training.release.faithful import require_faithful
from megatron.bridge.training.utils.import_checks import check_import


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hf_model", help="Hugging Face model ID, or a model's folder")
    parser.add_argument("out", type=os.path.expanduser, help="checkpoint root to write")
    parser.add_argument("--tensor-model-parallel-size", type=int, default=1)
    parser.add_argument("--pipeline-model-parallel-size", type=int, default=1)
    parser.add_argument("--overwrite", action="store_true", help="replace the release that OUT holds")
    parser.add_argument(
        "--allow-unused-tensors", nargs="+", default=[], metavar="PATTERN", help="tensors that may be left out"
    )
    parser.add_argument(
        "--allow-config-fields", nargs="+", default=[], metavar="FIELD", help="config fields whose values may be lost"
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model's own Python code")
    return parser.parse_args()


def import_parallel(arguments: argparse.Namespace) -> None:
    """Convert on several ranks, each of which holds its part of the model."""
    ranks = arguments.tensor_model_parallel_size * arguments.pipeline_model_parallel_size
    if int(os.environ.get("WORLD_SIZE", "1")) % ranks:
        raise ValueError(f"these parallel sizes need a multiple of {ranks} ranks: torchrun --nproc-per-node {ranks} …")
    keywords = {"trust_remote_code": arguments.trust_remote_code}
    hf_model = check_import(arguments.hf_model, arguments.out, arguments.overwrite, keywords)
    bridge = AutoBridge.from_hf_pretrained(hf_model, trust_remote_code=arguments.trust_remote_code)
    require_faithful(bridge, arguments.allow_unused_tensors, arguments.allow_config_fields, hf_model)
    provider = bridge.to_megatron_provider()
    provider.tensor_model_parallel_size = arguments.tensor_model_parallel_size
    provider.pipeline_model_parallel_size = arguments.pipeline_model_parallel_size
    provider.finalize()
    provider.initialize_model_parallel(seed=0)
    model = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
    bridge.save_megatron_model(
        model,
        arguments.out,
        hf_tokenizer_path=hf_model,
        release=True,
        overwrite=arguments.overwrite,
        allow_unused_tensors=arguments.allow_unused_tensors,
        allow_config_fields=arguments.allow_config_fields,
    )
    torch.distributed.destroy_process_group()


def main() -> None:
    """Import the model, or say in one line why not."""
    arguments = parse_arguments()
    try:
        if arguments.tensor_model_parallel_size * arguments.pipeline_model_parallel_size > 1:
            import_parallel(arguments)
        else:
            AutoBridge.import_ckpt(
                arguments.hf_model,
                arguments.out,
                release=True,
                overwrite=arguments.overwrite,
                allow_unused_tensors=arguments.allow_unused_tensors,
                allow_config_fields=arguments.allow_config_fields,
                trust_remote_code=arguments.trust_remote_code,
            )
    except KeyboardInterrupt:
        sys.exit(f"error: interrupted; what {arguments.out} held before is still there.")
    except (AssertionError, ValueError, RuntimeError, OSError) as error:
        # In a shell's words: what Python takes as a keyword is an option here.
        text = f"error: {error}"
        for keyword in ("overwrite=True", "allow_unused_tensors", "allow_config_fields"):
            text = text.replace(keyword, f"--{keyword.removesuffix('=True').replace('_', '-')}")
        sys.exit(text)


main()
