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

"""A model of the Hub is imported at one revision: config, weights, tokenizer and record."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from expected_errors import raises
from hub_server import HubServer, Repository, environment, serve, use
from models import make_tiny_llama
from safetensors import safe_open
from transformers import AutoTokenizer
from workers import TIMEOUT, run_worker

from megatron.bridge import AutoBridge
from megatron.bridge.release.__main__ import main
from megatron.bridge.release.source.provenance import read_source, require_source
from megatron.bridge.release.source.provenance_errors import SourceMismatchError
from megatron.bridge.release.validation.errors import UnsupportedKeywordError
from megatron.bridge.release.verify.dcp_metadata import read_state
from megatron.bridge.release.verify.weights import compare
from megatron.bridge.training.model_load_save import temporary_distributed_context


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of equal shapes; their weights, their configs and their tokenizers differ."""
    folder = tmp_path_factory.mktemp("models")
    made = {name: make_tiny_llama(folder / name, "gqa-untied", seed) for seed, name in enumerate(("main", "v1"))}
    config = json.loads((made["v1"] / "config.json").read_text())
    config["rms_norm_eps"] = 0.003
    (made["v1"] / "config.json").write_text(json.dumps(config))
    tokenizer = (made["v1"] / "tokenizer.json").read_text()
    (made["v1"] / "tokenizer.json").write_text(tokenizer.replace('"w7"', '"seven"'))
    (made["v1"] / "consolidated.safetensors").write_bytes(b"another format")
    return made


@pytest.fixture
def server(models, tmp_path, monkeypatch):
    """A server that has them as two revisions of one model, and an empty cache."""
    with serve() as running:
        repository = running.repositories["org/m"] = Repository()
        for name, folder in models.items():
            repository.add(folder, name)
        use(running, tmp_path / "cache", monkeypatch)
        yield running


def _commit(server: HubServer, revision: str) -> str:
    return server.repositories["org/m"].revisions[revision]


def _require_release_of(root: Path, hf: Path) -> None:
    """Require a release's weights, args and tokenizer to be a model's, bit by bit."""
    equal, problems = compare(root / "release", str(hf))
    with safe_open(hf / "model.safetensors", "pt") as file:
        assert (equal, problems) == (len(file.keys()), [])
    text = "w7 seven w8"
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (root / "release/tokenizer", hf)]
    assert tokenizers[0](text).input_ids == tokenizers[1](text).input_ids
    eps = json.loads((hf / "config.json").read_text())["rms_norm_eps"]
    assert read_state(root / "release")["args"].layernorm_epsilon == eps


def test_import_reads_every_file_from_same_revision(server, models, tmp_path):
    root = tmp_path / "root"
    AutoBridge.import_ckpt("org/m", root, release=True, revision="v1")
    _require_release_of(root, models["v1"])
    downloads = server.downloads()
    assert len(downloads) == len(set(downloads)) and "model.safetensors" in downloads
    assert not any("consolidated" in name for name in downloads)
    source = read_source(root / "release")
    assert (source.model, source.revision, source.commit) == ("org/m", "v1", _commit(server, "v1"))
    run_config = yaml.safe_load((root / "release/run_config.yaml").read_text())
    assert run_config["model"]["hf_model_id"] == "org/m"
    assert run_config["model"]["hf_model_revision"] == _commit(server, "v1")
    assert run_config["tokenizer"]["tokenizer_model"] == "org/m"
    assert run_config["tokenizer"]["hf_tokenizer_kwargs"]["revision"] == _commit(server, "v1")
    for file in (root / "release").rglob("*"):
        assert file.is_dir() or str(tmp_path / "cache").encode() not in file.read_bytes(), file
    # A copy of the files is the same model; another revision is not.
    require_source(root, models["v1"])
    recorded = f"org/m at commit {_commit(server, 'v1')}"
    differences = ("weights", "config fields: rms_norm_eps")
    with raises(SourceMismatchError(root, recorded, str(models["main"]), differences)):
        require_source(root, models["main"])


def test_commands_use_recorded_commit(server, models, tmp_path, capsys):
    root, out = tmp_path / "root", tmp_path / "out"
    server.repositories["org/m"].token = "hf_secret"
    AutoBridge.import_ckpt("org/m", root, release=True, revision="v1", token="hf_secret")
    assert all("hf_secret" not in file.read_text(errors="replace") for file in root.rglob("*") if file.is_file())
    server.requests.clear()
    for option in ("--made-of", "--deep", "--compute"):
        assert main(["check", str(root), option, "org/m"]) == 0, capsys.readouterr()
    assert main(["export", str(root), "org/m", str(out)]) == 0
    # All of it is in the cache.
    assert server.requests == []
    with safe_open(out / "model.safetensors", "pt") as ours, safe_open(models["v1"] / "model.safetensors", "pt") as hf:
        assert sorted(ours.keys()) == sorted(hf.keys())
        assert all(torch.equal(ours.get_tensor(name), hf.get_tensor(name)) for name in hf.keys())
    assert json.loads((out / "config.json").read_text())["rms_norm_eps"] == 0.003
    assert all(str(tmp_path / "cache").encode() not in file.read_bytes() for file in out.iterdir())


def test_different_revision_is_refused_unless_content_is_equal(server, models, tmp_path, capsys):
    root = tmp_path / "root"
    AutoBridge.import_ckpt("org/m", root, release=True, revision="v1")
    server.repositories["org/m"].add(Path(models["v1"].parent, "copy"), "copy")
    (models["v1"].parent / "copy").symlink_to(models["v1"])
    assert main(["check", str(root), "--made-of", "org/m", "--revision", "copy"]) == 0
    for option in ("--made-of", "--deep"):
        assert main(["check", str(root), option, "org/m", "--revision", "main"]) == 1
        assert main(["check", str(root), option, "org/m", "--revision", "v1"]) == 0
    capsys.readouterr()
    assert main(["export", str(root), "org/m", str(tmp_path / "out"), "--revision", "main"]) == 1
    error = capsys.readouterr().err
    assert _commit(server, "main") in error and _commit(server, "v1") in error
    assert not (tmp_path / "out").exists()


def test_model_saved_by_caller_records_no_tensor_checksum(server, models, tmp_path):
    bridge = AutoBridge.from_hf_pretrained("org/m", revision="v1")
    with temporary_distributed_context(backend="gloo"):
        model = bridge.to_megatron_model(wrap_with_ddp=False, use_cpu_initialization=True)
        bridge.save_megatron_model(model, tmp_path / "root", release=True, hf_tokenizer_path=models["v1"])
    _require_release_of(tmp_path / "root", models["v1"])
    source = read_source(tmp_path / "root/release")
    assert (source.model, source.revision, source.commit) == ("org/m", "v1", _commit(server, "v1"))
    assert source.config_sha256 is not None and source.tensors_sha256 is None


def test_default_import_reads_weights_of_requested_revision(server, models, tmp_path):
    AutoBridge.import_ckpt("org/m", tmp_path / "root", revision="v1")
    equal, problems = compare(tmp_path / "root/iter_0000000", str(models["v1"]))
    assert equal and problems == []


@pytest.fixture
def ranks(server, models, tmp_path) -> Path:
    """What `hub_ranks_worker.py` wrote, on two ranks each time."""
    run_worker(
        "hub_ranks_worker",
        models["v1"],
        tmp_path,
        OMP_NUM_THREADS="1",
        **environment(server, tmp_path / "cache"),
    )
    return tmp_path


def test_ranks_check_and_download_together(ranks, server, models):
    for name in ("root", "own_caches"):
        _require_release_of(ranks / name, models["v1"])
        assert read_source(ranks / name / "release").commit == _commit(server, "v1")
    files = set(server.downloads())
    cached = json.loads((ranks / "downloads.json").read_text())
    assert cached == {"root": sorted(files), "own_caches": sorted(2 * [*files]), "none": [], "missing": []}
    # One for each cache: of the first import, and of each rank's own in the second.
    assert Counter(server.downloads()) == dict.fromkeys(files, 3)
    assert server.requests.count("GET /api/models/org/m/revision/none") == 1
    for name, text in (("none", "RevisionNotFoundError"), ("missing", "No such directory: ")):
        first, second = ((ranks / f"{name}.{rank}").read_text() for rank in range(2))
        assert text in first
        assert first == second
        assert not (ranks / name).exists()


def test_shell_import_of_revision_prints_no_warnings(server, models, tmp_path):
    root = tmp_path / "root"
    words = ["import", "org/m", str(root), "--revision", "v1"]
    done = subprocess.run(
        # Started anew: it may warn when it imports its libraries, or show their progress.
        [sys.executable, "-m", "megatron.bridge.release", *words],
        env=os.environ | environment(server, tmp_path / "cache"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    begins, ends = done.stderr.splitlines()
    assert begins == f"Importing org/m into {root}" and ends.startswith("Wrote ")
    _require_release_of(root, models["v1"])
    downloads = server.downloads()
    assert len(downloads) == len(set(downloads))
    # What resolves the revision is requested once, and nothing again for the logit check.
    assert sum("/revision/v1" in request for request in server.requests) == 2
    source = read_source(root / "release")
    assert (source.revision, source.commit) == ("v1", _commit(server, "v1"))


def test_import_refuses_proxies_argument(server, tmp_path):
    with raises(UnsupportedKeywordError(("proxies",))):
        AutoBridge.import_ckpt("org/m", tmp_path / "root", release=True, proxies={"https": "proxy:80"})
    assert server.requests == []
