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

"""The main job on a real model: import a release, load it with Megatron-LM, compare, show.

make demo
"""

import argparse
import io
import logging
import resource
import shutil
import sys
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.tree import Tree
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "examples"), str(REPOSITORY / "tests/support")]
# The libraries tell at length what this host lacks; here the result is to be seen.
logging.disable(logging.WARNING)

import megatron_lm  # noqa: E402
import models  # noqa: E402
import smollm2  # noqa: E402

from megatron.bridge import AutoBridge  # noqa: E402


PROMPTS = ("The capital of France is", "Water boils at a temperature of", "def fibonacci(n):")
NEW_TOKENS = 12


def show_tree(console: Console, root: Path) -> None:
    """Print the files of the checkpoint root."""
    top = Tree(f"[bold]{root.name}/[/]")
    folders = {root: top}
    for path in sorted(root.rglob("*"), key=lambda path: (path.parent, path.is_dir(), path.name)):
        size = "" if path.is_dir() else f"  [dim]{path.stat().st_size:,} bytes[/]"
        folders[path] = folders[path.parent].add(f"{path.name}{'/' if path.is_dir() else ''}{size}")
    console.print(top)


def compare(console: Console, hf_path: Path, root: Path) -> bool:
    """Load the release with Megatron-LM, print what it holds beside Hugging Face's model, tell whether they agree."""
    config = AutoConfig.from_pretrained(hf_path)
    tokenizer = AutoTokenizer.from_pretrained(hf_path)
    hf = AutoModelForCausalLM.from_pretrained(hf_path, dtype=torch.float32).eval()
    flags = [*megatron_lm.llama_flags(config), "--load", str(root), "--exit-on-missing-checkpoint"]
    with ExitStack() as stack:
        # Megatron-LM prints its arguments, all of them.
        with redirect_stdout(io.StringIO()):
            model, _ = megatron_lm.load(stack.enter_context(megatron_lm.megatron_lm(flags)))
        expected = models.megatron_tensors(hf, config.vocab_size)
        found = dict(model.named_parameters())
        equal = sum(torch.equal(found[name].cpu(), tensor) for name, tensor in expected.items())

        table = Table("", "Hugging Face", "Megatron-LM", "", title="SmolLM2-135M-Instruct, both in float32")
        table.add_row("parameters", str(len(expected)), str(len(found)), f"{equal} bit-equal")
        agree = equal == len(expected) == len(found)
        for prompt in PROMPTS:
            tokens = tokenizer(prompt, return_tensors="pt").input_ids
            with torch.no_grad():
                hf_logits = hf(tokens).logits
            logits = megatron_lm.logits(model, tokens)
            difference = float((logits - hf_logits).abs().max())
            theirs, ours = (f"{float(one.max()):.5f}" for one in (hf_logits, logits))
            table.add_row(f"largest logit of {prompt!r}", theirs, ours, f"all within {difference:.1e}")
            agree &= difference < 4e-5 * float(hf_logits.abs().max())
        console.print(table)

        table = Table("prompt", "Hugging Face continues", "Megatron-LM continues", title="Greedy continuations")
        for prompt in PROMPTS:
            tokens = tokenizer(prompt, return_tensors="pt").input_ids
            whole = hf.generate(tokens, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None)
            continuations = [
                whole[0, -NEW_TOKENS:].tolist(),
                megatron_lm.greedy(model, tokens, NEW_TOKENS, config.vocab_size),
            ]
            table.add_row(prompt, *(str(tokenizer.decode(tokens)) for tokens in continuations))
            agree &= continuations[0] == continuations[1]
        console.print(table)
    return agree


def main() -> None:
    """Run the demo; the exit status is 0 only where everything agrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build/demo", help="folder for what it makes")
    work = parser.parse_args().work
    console = Console(file=sys.stdout)

    hf_path = smollm2.make(smollm2.CACHED)
    root = work / "release-checkpoint"
    shutil.rmtree(root, ignore_errors=True)
    start = time.monotonic()
    AutoBridge.import_ckpt(hf_path, root, release=True)
    seconds, peak = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.rule(f"imported in {seconds:.1f} s, peak memory of the process {peak:.2f} GiB")
    show_tree(console, root)
    if not compare(console, hf_path, root):
        sys.exit("error: Megatron-LM's model and Hugging Face's differ")
    console.print("[green]Megatron-LM's own loader has Hugging Face's model.[/]")


main()
