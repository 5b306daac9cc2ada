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

"""Tests a checkout of Megatron-LM on this host, as far as a CPU allows: make real-megatron-lm MEGATRON_LM=path.

    python tests/support/real_megatron_lm.py CHECKOUT

Runs the README's command and examples/sft.sh with the checkout's own pretrain_gpt.py. Prints a line for each check, and
what could not be run. The exit status is 0 if no check failed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from hf_logits import hf_logits, load_hf
from model_record import TOKENS
from models import FAMILIES, save_random_model
from training_runs import (
    CPU_FLAGS,
    REPOSITORY,
    SHORT,
    SUPPORT,
    factor_matters,
    loaded_differences,
    losses,
    make_llama,
    readme_command,
    run,
)

from megatron.bridge import AutoBridge
from megatron.bridge.release.layout import FLAGS_FILE, TRACKER
from megatron.bridge.release.megatron_args.args import megatron_lm_args
from megatron.bridge.release.megatron_args.flag_format import megatron_lm_flags
from megatron.bridge.release.rope_factor import BUILT_FACTOR, ENTRY_POINT_FLAG
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.dcp_metadata import read_args
from megatron.bridge.release.verify.launch import RUN_FLAGS


_USER_FLAGS = ("--save", "/tmp", "--micro-batch-size", "1", "--train-iters", "1", "--lr", "1e-5", "--mock-data")
_CHATS = '{"messages": [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3 w4 w5"}]}\n'
_TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


class Checks:
    """The outcomes of one checkout, printed as they are known."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.failed = False

    def note(self, name: str, outcome: bool | str) -> None:
        """Print an outcome: whether a check passed, or why it could not be run."""
        self.failed |= outcome is False
        state = outcome if isinstance(outcome, str) else "ok" if outcome else "FAILED"
        print(f"  {name}: {state}", flush=True)

    def started(self, name: str, done: subprocess.CompletedProcess[str]) -> bool:
        """Note whether a command ended well; if not, print the end of its output."""
        self.note(name, done.returncode == 0)
        if done.returncode:
            print("\n".join((done.stdout + done.stderr).splitlines()[-60:]), file=sys.stderr)
        return done.returncode == 0

    def parse(self, folder: Path) -> None:
        """Have the flags of every family parsed and validated, with those that a start needs."""
        print("Flags of every family", flush=True)
        commands = {}
        for name, family in FAMILIES.items():
            hf = save_random_model(folder / name, family.config)
            model = AutoBridge.from_hf_pretrained(hf).to_megatron_provider(load_weights=False)
            flags = [flag for flag in megatron_lm_flags(megatron_lm_args(model)) if flag != ENTRY_POINT_FLAG]
            commands[name] = [*flags, *RUN_FLAGS, *_USER_FLAGS, *CPU_FLAGS]
        (folder / "flags.json").write_text(json.dumps(commands))
        variables = {
            "CUDA_VISIBLE_DEVICES": "",
            "MEGATRON_LM_ON_CPU": "1",
            "TORCH_CUDA_ARCH_LIST": "9.0",
            "LOCAL_RANK": "0",
        }
        variables["PYTHONPATH"] = f"{self.checkout}:{SUPPORT / 'cpu_site'}:{os.environ.get('PYTHONPATH', '')}"
        command = [
            sys.executable,
            "-W",
            "ignore",
            SUPPORT / "parser_worker.py",
            folder / "flags.json",
            folder / "out.json",
        ]
        subprocess.run(command, env=os.environ | variables, check=True)
        for name, error in json.loads((folder / "out.json").read_text()).items():
            _, unknown, flags = error.partition("unrecognized arguments: ")
            # Older parsers do not know every flag, and refuse the model by name.
            self.note(name, f"refused, unknown: {flags}" if unknown else not error)
            if error and not unknown:
                print(error, file=sys.stderr)

    def train(self, folder: Path, factor: float | None, dtype: torch.dtype) -> None:
        """Load, train, save, resume and export one model with the README's command."""
        name = f"Llama, {dtype}, " + ("plain rope" if factor is None else f"rope scaling factor {factor:g}")
        print(name.replace("torch.", ""), flush=True)
        hf, root = make_llama(folder / "hf", factor=factor, dtype=dtype), folder / "root"
        AutoBridge.import_ckpt(hf, root, release=True)
        record = folder / "record.pt"
        done = run(readme_command(root), SHORT, cwd=self.checkout, record=record)
        if not self.started("README's command", done):
            return
        differences = loaded_differences(record, hf)
        self.note("parameters bit-equal, rope equal" + (", logits" if dtype == torch.float32 else ""), not differences)
        self.note("three iterations", list(losses(done.stdout)) == [1, 2, 3])
        done = run(readme_command(root), SHORT, cwd=self.checkout, record=record)
        if not self.started("the same command again", done):
            return
        self.note("resumed at 3, trained to 6", list(losses(done.stdout)) == [4, 5, 6])
        self.note("check of iter_0000006", check(root).passed and (root / TRACKER).read_text() == "6")
        self.note("factor in the saved args", read_args(root / "iter_0000006").get(BUILT_FACTOR) == factor)
        AutoBridge.from_hf_pretrained(hf).export_ckpt(root, folder / "exported", show_progress=False)
        change = (hf_logits(load_hf(folder / "exported"), TOKENS) - hf_logits(load_hf(hf), TOKENS)).abs().max()
        self.note("export, which differs from the source model", 0 < float(change) < 10)
        if factor is not None:
            self.note("the factor changes the logits", factor_matters(hf))
            flags = (root / "release" / FLAGS_FILE).read_text().split()
            plain = run("torchrun pretrain_gpt.py", tuple(flags), cwd=self.checkout)
            refused = re.search(rf"unrecognized arguments: .*{ENTRY_POINT_FLAG}", plain.stderr)
            self.note("the plain script refuses the release", plain.returncode != 0 and refused is not None)

    def fine_tune(self, folder: Path) -> None:
        """Run examples/sft.sh."""
        print("examples/sft.sh", flush=True)
        hf, root = make_llama(folder / "hf", dtype=torch.float32), folder / "root"
        AutoBridge.import_ckpt(hf, root, release=True)
        (root / "release/tokenizer/chat_template.jinja").write_text(_TEMPLATE)
        (root / "release/integrity.json").unlink()
        (folder / "chats.jsonl").write_text(_CHATS * 8)
        command = f"bash {REPOSITORY}/examples/sft.sh {root} {folder}/chats.jsonl"
        done = run(command, SHORT[:8], cwd=folder, record=folder / "record.pt", MEGATRON_LM=str(self.checkout))
        output = done.stdout + done.stderr
        minor = int(re.search(r"MINOR = (\d+)", (self.checkout / "megatron/core/package_info.py").read_text())[1])
        if minor < 17:
            self.note("refused before core 0.17", done.returncode == 1 and "`default` needs 0.17" in output)
            return
        loaded = (folder / "record.pt").exists()
        self.note("started and loaded", loaded)
        if done.returncode == 0:
            self.note("three iterations", list(losses(done.stdout)) == [1, 2, 3])
        elif loaded and "acked sequence" in output:
            self.note("three iterations", "not run: packed sequences need Transformer Engine")
        elif minor == 17 and "'tokenizers.Encoding' object has no attribute 'copy'" in output:
            self.note("three iterations", "not run: the SFT tokenizer of core 0.17 needs transformers 4")
        else:
            self.started("three iterations", done)


def main() -> None:
    """Run all checks of the checkout that the command line names."""
    checks = Checks(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as scratch:
        checks.parse(Path(scratch))
        checks.train(Path(scratch) / "factor", 32.0, torch.float32)
        checks.train(Path(scratch) / "plain", None, torch.bfloat16)
        checks.fine_tune(Path(scratch) / "sft")
    print(
        "not run: train_rl.py, inference and ModelOpt, which need a GPU; more than one rank; Transformer Engine's layers"
    )
    sys.exit(checks.failed)


if __name__ == "__main__":
    main()
