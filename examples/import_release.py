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
    torchrun --nproc-per-node 2 examples/import_release.py HF_MODEL OUT

Each rank converts and writes its share of the model. The tensors are the same, and load at any parallel sizes.
"""

import argparse
import gc
import os
import sys


# Nothing becomes garbage while modules are imported; to look for it takes a second.
gc.disable()

import torch.distributed as dist  # noqa: E402

from megatron.bridge import AutoBridge  # noqa: E402


gc.enable()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hf_model", help="Hugging Face model ID, or a model's folder")
    parser.add_argument("out", type=os.path.expanduser, help="checkpoint root to write")
    parser.add_argument("--overwrite", action="store_true", help="replace the release that OUT holds")
    parser.add_argument(
        "--allow-unused-tensors", nargs="+", default=[], metavar="PATTERN", help="tensors that may be left out"
    )
    parser.add_argument(
        "--allow-config-fields", nargs="+", default=[], metavar="FIELD", help="config fields whose values may be lost"
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model's own Python code")
    return parser.parse_args()


def main() -> None:
    """Import the model, or say in one line why not."""
    arguments = parse_arguments()
    try:
        AutoBridge.import_ckpt(
            arguments.hf_model,
            arguments.out,
            release=True,
            overwrite=arguments.overwrite,
            allow_unused_tensors=arguments.allow_unused_tensors,
            allow_config_fields=arguments.allow_config_fields,
            trust_remote_code=arguments.trust_remote_code,
        )
        if dist.is_initialized():
            dist.destroy_process_group()
    except KeyboardInterrupt as error:
        sys.exit(f"error: {str(error) or 'interrupted'}")
    except (AssertionError, ValueError, RuntimeError, OSError) as error:
        # In a shell's words: what Python takes as a keyword is an option here.
        text = ". ".join([f"error: {error}", *getattr(error, "__notes__", [])])
        for keyword in ("overwrite=True", "allow_unused_tensors", "allow_config_fields"):
            text = text.replace(keyword, f"--{keyword.removesuffix('=True').replace('_', '-')}")
        sys.exit(text)


main()
