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

"""Measures what an import takes, beside a copy of the same files and beside upstream's import: `make bench`.

    PYTHONPATH=.:tests/support python tests/functional/bench.py [--models NAME …] [--rounds N] [--to docs]

Each round goes through all contenders of a model, in another order; a contender is a process of its own, and its source
is in the page cache. Seconds count from when the Python imports are done. Memory is what a process and its children
have for themselves (RssAnon) beyond what they had then.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from memory import anonymous
from models import LLAMA_1B, make_tiny_llama
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen3MoeConfig


_SHARD = 1 << 30
# Before and after the table, in the page that has it.
_TABLE = "<!-- what `make bench` prints -->"


class Model(NamedTuple):
    """A model of the bench.

    Args:
        config: Its config.
        rounds: How often each contender runs.
        upstream: Whether upstream's import has room for it on a small host, and runs without Transformer Engine.
    """

    config: PretrainedConfig
    rounds: int = 5
    upstream: bool = True


MODELS = {
    "SmolLM2-135M": Model(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
        )
    ),
    "Llama 0.25B": Model(
        LlamaConfig(**LLAMA_1B | dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=8))
    ),
    "Llama 1B": Model(LlamaConfig(**LLAMA_1B)),
    "Llama 1B, padded vocabulary": Model(LlamaConfig(**LLAMA_1B | dict(vocab_size=128001))),
    "Llama 3B": Model(
        LlamaConfig(**LLAMA_1B | dict(hidden_size=3072, num_hidden_layers=28, num_attention_heads=24, head_dim=128)),
        rounds=3,
    ),
    "Qwen3-MoE 3B": Model(
        Qwen3MoeConfig(
            vocab_size=151936,
            hidden_size=2048,
            intermediate_size=6144,
            num_hidden_layers=4,
            num_attention_heads=32,
            num_key_value_heads=4,
            head_dim=128,
            moe_intermediate_size=768,
            num_experts=128,
            num_experts_per_tok=8,
            norm_topk_prob=True,
            max_position_embeddings=40960,
        ),
        rounds=3,
        upstream=False,
    ),
    "Llama 8B": Model(
        LlamaConfig(
            **LLAMA_1B
            | dict(
                hidden_size=4096,
                intermediate_size=14336,
                num_hidden_layers=32,
                head_dim=128,
                tie_word_embeddings=False,
            )
        ),
        rounds=3,
        upstream=False,
    ),
}


def make_model(folder: Path, config: PretrainedConfig) -> int:
    """Write a random bfloat16 model, shard by shard, with a tokenizer; give its size in bytes."""
    make_tiny_llama(folder.with_name("tiny"), "gqa-tied")
    folder.mkdir()
    for file in folder.with_name("tiny").glob("tokenizer*"):
        shutil.copy(file, folder)
    config.dtype = torch.bfloat16
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    random = torch.Generator().manual_seed(0)
    shards: list[dict[str, torch.Tensor]] = [{}]
    files: list[list[str]] = [[]]

    def flush(at: int) -> None:
        save_file(shards[at], folder / f"{at:05}.safetensors", {"format": "pt"})
        shards[at] = {}

    size = filled = 0
    for name, shape in _shapes(model, config):
        tensor = torch.empty(shape, dtype=torch.bfloat16).uniform_(-0.05, 0.05, generator=random)
        if filled and filled + tensor.nbytes > _SHARD:
            flush(len(files) - 1)
            shards.append({})
            files.append([])
            filled = 0
        shards[-1][name] = tensor
        files[-1].append(name)
        filled, size = filled + tensor.nbytes, size + tensor.nbytes
    flush(len(files) - 1)
    weight_map = {name: f"{at:05}.safetensors" for at, names in enumerate(files) for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return size


def _shapes(model: Any, config: PretrainedConfig) -> list[tuple[str, tuple[int, ...]]]:
    """Name the tensors of the model's files; transformers joins experts in memory alone."""
    found = []
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name.endswith("mlp.experts.gate_up_proj"):
            experts, rows, columns = tensor.shape
            prefix = name.removesuffix("gate_up_proj")
            for expert in range(experts):
                found += [(f"{prefix}{expert}.{half}_proj.weight", (rows // 2, columns)) for half in ("gate", "up")]
        elif name.endswith("mlp.experts.down_proj"):
            prefix = name.removesuffix("down_proj")
            found += [(f"{prefix}{expert}.down_proj.weight", tuple(tensor.shape[1:])) for expert in range(len(tensor))]
        else:
            found.append((name, tuple(tensor.shape)))
    return found


def import_measured(hf: str, root: str, out: str, upstream: bool) -> None:
    """Import in this process; write what it took into a file of this rank."""
    if upstream:
        import upstream_import

        theirs = upstream_import.load_upstream()
    else:
        from megatron.bridge import AutoBridge
        from megatron.bridge.release.write import save  # noqa: F401
        from megatron.bridge.training import model_load_save  # noqa: F401
    ready, start_up, cpu, base, peak = time.monotonic(), _age(), os.times(), anonymous(os.getpid()), [0]
    io = _io()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous(os.getpid()))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        if upstream:
            upstream_import.import_model(theirs, hf, Path(root))
        else:
            AutoBridge.import_ckpt(hf, root, release=True)
        took, after = time.monotonic() - ready, os.times()
    finally:
        done.set()
        watching.join()
    found = {
        "start-up": start_up,
        "seconds": took,
        "memory": peak[0] - base,
        "cpu": sum(after[:4]) - sum(cpu[:4]),
        "read": _io()["rchar"] - io["rchar"],
        "written": _io()["wchar"] - io["wchar"],
    }
    Path(f"{out}.{os.environ.get('RANK', '0')}").write_text(json.dumps(found))


def _age() -> float:
    """Tell how long ago this process began, in seconds."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _io() -> dict[str, int]:
    return {
        name: int(value)
        for name, value in (line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    }


def run(contender: str, hf: Path, folder: Path, upstream: Path) -> dict[str, float]:
    """Let one contender make its copy or its checkpoint; tell what it took.

    Args:
        contender: Its name.
        hf: The model.
        folder: Where to write.
        upstream: Upstream's unpatched tree.

    Returns:
        Seconds, bytes, and seconds of processors.
    """
    target, out = folder / "target", folder / "took"
    for path in hf.iterdir():
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass
    subprocess.run(["sync"], check=True)
    if contender == "copy":
        started = time.monotonic()
        subprocess.run(["cp", "-r", hf, target], check=True)
        subprocess.run(["sync", "-f", target], check=True)
        found = {"seconds": time.monotonic() - started}
    else:
        ranks = {"one rank": 1, "two ranks": 2}.get(contender, 1)
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
        command = [sys.executable, "-W", "ignore", *words, __file__, "--import", str(hf), str(target), str(out)]
        environment = dict(os.environ)
        if contender == "upstream":
            environment["PYTHONPATH"] = f"{upstream}:{environment['PYTHONPATH']}"
            command.append("--upstream")
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{contender}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
        all_ranks = [json.loads(Path(f"{out}.{rank}").read_text()) for rank in range(ranks)]
        found = {name: max(rank[name] for rank in all_ranks) for name in ("seconds", "start-up", "memory")}
        found |= {name: sum(rank[name] for rank in all_ranks) for name in ("cpu", "read", "written")}
    shutil.rmtree(target)
    return found


def bench(name: str, model: Model, rounds: int | None, folder: Path, upstream: Path) -> dict[str, Any]:
    """Measure all contenders of a model; give the medians."""
    size = make_model(folder / "hf", model.config)
    contenders = ["copy", "one rank", "two ranks"]
    if model.upstream:
        contenders.append("upstream")
    rows: dict[str, list[dict[str, float]]] = {contender: [] for contender in contenders}
    for number in range(rounds or model.rounds):
        at = number % len(contenders)
        for contender in contenders[at:] + contenders[:at]:
            rows[contender].append(run(contender, folder / "hf", folder, upstream))
            print(f"{name}: {contender}: {json.dumps(rows[contender][-1])}", flush=True)
    medians = {
        contender: {key: statistics.median(row[key] for row in found) for key in found[0]}
        for contender, found in rows.items()
    }
    return {"model": name, "size": size, "rounds": len(rows["copy"]), "contenders": medians}


def table(results: list[dict[str, Any]]) -> str:
    """Lay the results out as a table of Markdown."""
    lines = [
        "| model | contender | seconds | of the copy | start-up, s | memory, MiB | CPU, s | read, GB | written, GB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        floor = result["contenders"]["copy"]["seconds"]
        for contender, found in result["contenders"].items():
            cells = [f"{found['seconds']:.1f}", f"{found['seconds'] / floor:.2f}"]
            if contender == "copy":
                cells += [""] * 5
            else:
                cells += [f"{found['start-up']:.1f}", f"{found['memory'] / 2**20:.0f}", f"{found['cpu']:.1f}"]
                cells += [f"{found['read'] / 1e9:.1f}", f"{found['written'] / 1e9:.1f}"]
            lines.append(f"| {result['model']}, {result['size'] / 1e9:.1f} GB | {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], folder: Path) -> None:
    """Draw time and memory against size."""
    from matplotlib import pyplot

    # Text as text, and the same names in each run.
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 13})
    plain = sorted(
        (one for one in results if one["model"].startswith("Llama") and "," not in one["model"]),
        key=lambda one: one["size"],
    )
    for what, unit, scale in (("seconds", "seconds after start-up", 1), ("memory", "anonymous memory, MiB", 2**20)):
        figure, axes = pyplot.subplots(figsize=(6, 4.5))
        # In print, markers and dashes tell them apart.
        for contender, style in (("copy", "k--"), ("one rank", "C0o-"), ("two ranks", "C1s-"), ("upstream", "C3^-")):
            points = [
                (one["size"] / 1e9, one["contenders"][contender][what] / scale)
                for one in plain
                if what in one["contenders"].get(contender, {})
            ]
            if points:
                label = "copy and sync (the floor)" if contender == "copy" else contender
                axes.plot(*zip(*points), style, label=label)
        axes.set_xlabel("size of the model, GB")
        axes.set_ylabel(unit)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        # Above the axes it hides no line.
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=2, frameon=False, fontsize=11)
        figure.tight_layout()
        figure.savefig(folder / f"{what}.svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))


def main() -> None:
    """Measure, print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS, metavar="NAME")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--to",
        type=Path,
        help="folder of performance.json, which gets the models' results, and performance.md, whose table and plots "
        "are made anew",
    )
    parser.add_argument("--import", nargs=3, dest="words", help=argparse.SUPPRESS)
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.words:
        import_measured(*options.words, options.upstream)
        return
    from patches.upstream import open_upstream

    for name in options.models:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            upstream = open_upstream(None, Path(folder)).root
            result = bench(name, MODELS[name], options.rounds, Path(folder), upstream)
        print(table([result]), flush=True)
        if options.to is not None:
            record(result, options.to)


def record(result: dict[str, Any], folder: Path) -> None:
    """Put a model's results in place of its older ones, and make the table and the plots of all."""
    file, page = folder / "performance.json", folder / "performance.md"
    found = {one["model"]: one for one in json.loads(file.read_text())} if file.exists() else {}
    found[result["model"]] = result
    results = [found[name] for name in MODELS if name in found]
    file.write_text(json.dumps(results, indent=1) + "\n")
    before, _, rest = page.read_text().partition(_TABLE)
    _, _, after = rest.partition(_TABLE)
    page.write_text(f"{before}{_TABLE}\n{table(results)}\n{_TABLE}{after}")
    plot(results, folder)


if __name__ == "__main__":
    main()
