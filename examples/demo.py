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

"""Imports a real model as a release, loads it with Megatron-LM, and compares it with Hugging Face.

make demo
"""

import argparse
import io
import logging
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging


REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "examples"), str(REPOSITORY / "tests/support")]
# The libraries log what this host lacks, which hides the result.
logging.disable(logging.WARNING)
transformers_logging.disable_progress_bar()

import megatron_lm  # noqa: E402
import models  # noqa: E402
import smollm2  # noqa: E402


PROMPTS = ("The capital of France is", "Water boils at a temperature of", "def fibonacci(n):")
NEW_TOKENS = 12
COMMAND = "megatron-bridge-release"


def run(console: Console, work: Path, *arguments: str) -> list[str]:
    """Run the command in a directory, print its output as it comes, and return its lines."""
    console.print(f"[bold]$ {COMMAND} {' '.join(arguments)}[/]")
    command = [sys.executable, "-m", "megatron.bridge.release", *arguments]
    lines = []
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            # The paths of this host mean nothing to the reader.
            lines.append(line.rstrip("\n").replace(f"{work.resolve()}/", ""))
            console.print(lines[-1], markup=False)
    if process.returncode:
        sys.exit(process.returncode)
    return lines


def compare(console: Console, picture: Console, hf_path: Path, root: Path) -> bool:
    """Load the release with Megatron-LM, print both models side by side, return whether they agree."""
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
            table.add_row(
                f"largest logit of {prompt!r}", theirs, ours, f"largest absolute difference {difference:.1e}"
            )
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
            table.add_row(prompt, *(repr(tokenizer.decode(tokens)) for tokens in continuations))
            agree &= continuations[0] == continuations[1]
        console.print(table)
        picture.print(table)
    return agree


def save_picture(console: Console, path: Path) -> None:
    """Save what a console printed as a picture that needs nothing from the network."""
    svg = console.export_svg(title="make demo")
    path.write_text(re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", svg, flags=re.S))


def main() -> None:
    """Run the demo. The exit status is 0 only if everything agrees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build/demo", help="directory for its files")
    parser.add_argument(
        "--pictures", type=Path, help="directory for pictures of the output: demo.svg, demo-output.svg"
    )
    options = parser.parse_args()
    console = Console(file=sys.stdout, record=True, width=110, highlight=False)
    picture = Console(file=io.StringIO(), record=True, width=110, highlight=False)

    work, root = options.work, options.work / "ckpt"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "smollm2").symlink_to(smollm2.make(smollm2.CACHED), target_is_directory=True)
    lines = run(console, work, "import", "smollm2", "ckpt")
    picture.print(f"[bold]$ {COMMAND} import smollm2 ckpt[/]")
    # The result of the logit check, which may take several lines, is above the command that starts Megatron-LM.
    start = next(number for number, line in enumerate(lines) if "Logits" in line)
    end = next(number for number, line in enumerate(lines) if line.startswith("To start Megatron-LM"))
    for line in lines[start:end]:
        picture.print(line, markup=False)
    if not compare(console, picture, work / "smollm2", root):
        sys.exit("error: the models of Megatron-LM and Hugging Face differ")
    console.print("[green]Megatron-LM loaded the same model: parameters, logits and generated tokens are equal.[/]")
    if options.pictures is not None:
        save_picture(picture, options.pictures / "demo.svg")
        save_picture(console, options.pictures / "demo-output.svg")


main()
