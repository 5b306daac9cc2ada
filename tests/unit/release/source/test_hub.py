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

"""One revision of a model of the Hub is downloaded once, with the caller's token and cache, or an error says why not."""

import json

import pytest
from hub_server import HubServer, Repository, serve, use

from megatron.bridge.release.source import errors, hub_errors
from megatron.bridge.release.source.hub import download_model
from megatron.bridge.release.source.model_dir import inspect_model
from megatron.bridge.release.source.provenance import SourceModel


ORDINARY = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
OTHERS = ["README.md", "consolidated.safetensors", "model.gguf", "original/consolidated.00.pth", "pytorch_model.bin"]
OTHERS += [
    "consolidated.safetensors.index.json",
    "onnx/model.safetensors",
    "original/params.json",
    "training_args.bin",
]
FEWER = ["LICENSE", "chat_template.jinja", "merges.txt", "modeling_x.py", "tokenizer.model"]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with one model of two revisions, and an empty cache."""
    with serve() as running:
        repository = running.repositories["org/m"] = Repository()
        repository.add(_write(tmp_path / "new", 1, [*ORDINARY, *OTHERS, *FEWER]), "main")
        repository.add(_write(tmp_path / "old", 2, ORDINARY), "v1")
        use(running, tmp_path / "cache", monkeypatch)
        yield running


def _write(folder, value, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} {value}")
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "value": value}))
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes([value]))
    return folder


def _commit(server: HubServer, revision: str) -> str:
    return server.repositories["org/m"].revisions[revision]


@pytest.mark.parametrize(("revision", "commit"), [(None, "main"), ("main", "main"), ("v1", "v1")])
def test_download_returns_files_of_requested_revision(server, revision, commit):
    model = download_model("org/m", {"revision": revision})
    expected = server.repositories["org/m"].commits[_commit(server, commit)]
    assert model == SourceModel("org/m", model.folder, revision, _commit(server, commit))
    for name in ORDINARY:
        assert (model.folder / name).read_bytes() == (expected / name).read_bytes()


def test_download_accepts_commit_as_revision(server):
    commit = _commit(server, "v1")
    model = download_model("org/m", {"revision": commit})
    assert (model.revision, model.commit) == (commit, commit)
    assert (model.folder / "model.safetensors").read_bytes()[-1] == 2


def test_only_files_that_a_conversion_reads_are_downloaded_once(server):
    download_model("org/m", {})
    assert server.downloads() == sorted([*ORDINARY, *FEWER])
    done = len(server.requests)
    download_model("org/m", {})
    assert server.downloads() == sorted([*ORDINARY, *FEWER])
    download_model("org/m", {"revision": _commit(server, "main")})
    download_model("org/m", {"local_files_only": True})
    # A branch is resolved anew. A commit that is in the cache takes no request.
    assert server.requests[done:] == ["GET /api/models/org/m", "GET /api/models/org/m/revision/main"]


def test_force_download_downloads_again(server):
    download_model("org/m", {"revision": "v1"})
    download_model("org/m", {"revision": "v1", "force_download": True})
    assert server.downloads() == sorted(2 * ORDINARY)


def test_download_follows_moved_branch(server, tmp_path):
    download_model("org/m", {})
    commit = server.repositories["org/m"].add(_write(tmp_path / "newer", 3, ORDINARY), "main")
    model = download_model("org/m", {})
    assert model.commit == commit
    assert (model.folder / "model.safetensors").read_bytes()[-1] == 3


def test_download_uses_token_and_cache_directory(server, tmp_path):
    server.repositories["org/m"].token = "hf_secret"
    with pytest.raises(hub_errors.AuthenticationError):
        download_model("org/m", {})
    with pytest.raises(hub_errors.AuthenticationError):
        download_model("org/m", {"token": "hf_wrong"})
    model = download_model("org/m", {"token": "hf_secret", "cache_dir": tmp_path / "mine"})
    assert model.folder.is_relative_to(tmp_path / "mine")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("offline", ["local_files_only", "HF_HUB_OFFLINE"])
def test_offline_reads_the_cache(server, monkeypatch, offline):
    online = download_model("org/m", {"revision": "v1"})
    server.requests.clear()
    keywords = {"revision": "v1"}
    if offline == "HF_HUB_OFFLINE":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        keywords["local_files_only"] = True
    assert download_model("org/m", keywords) == online
    with pytest.raises(hub_errors.NotCachedError) as raised:
        download_model("org/m", keywords | {"revision": "main"})
    assert (raised.value.model_id, raised.value.revision) == ("org/m", "main")
    assert server.requests == []


def test_incomplete_cache_is_refused_when_offline(server):
    model = download_model("org/m", {})
    (model.folder / "tokenizer.json").unlink()
    with pytest.raises(hub_errors.NotCachedError):
        download_model("org/m", {"local_files_only": True})


@pytest.mark.parametrize(
    ("model_id", "revision", "error"),
    [("org/none", None, hub_errors.ModelNotFoundError), ("org/m", "none", hub_errors.RevisionNotFoundError)],
)
def test_missing_model_or_revision_raises_specific_error(server, model_id, revision, error):
    with pytest.raises(error) as raised:
        download_model(model_id, {"revision": revision})
    assert (raised.value.model_id, raised.value.revision) == (model_id, revision)


def test_gated_model_raises_gated_model_error(server):
    server.repositories["org/m"].gated = True
    with pytest.raises(hub_errors.GatedModelError):
        download_model("org/m", {})


@pytest.mark.parametrize("cached", [False, True])
def test_rate_limit_is_an_error_despite_a_cached_commit(server, cached):
    if cached:
        download_model("org/m", {})
    server.rate_limited = True
    with pytest.raises(hub_errors.RateLimitError):
        download_model("org/m", {})


def test_unreachable_hub_raises_error_unless_revision_is_cached(server, monkeypatch, caplog):
    online = download_model("org/m", {"revision": "v1"})
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    assert download_model("org/m", {"revision": "v1"}) == online
    assert online.commit in caplog.text
    with pytest.raises(hub_errors.UnreachableError):
        download_model("org/m", {})


def test_model_without_safetensors_is_refused(server, tmp_path):
    server.repositories["org/m"].add(_write(tmp_path / "bin", 1, ["pytorch_model.bin"]), "bin")
    (tmp_path / "bin/model.safetensors").unlink()
    with pytest.raises(hub_errors.NoSafetensorsError):
        download_model("org/m", {"revision": "bin"})
    assert "pytorch_model.bin" not in server.downloads()


def test_revision_is_refused_for_local_directory(server, tmp_path):
    folder = tmp_path / "new"
    assert inspect_model(folder)[0] == SourceModel(str(folder), folder)
    with pytest.raises(errors.LocalRevisionError) as raised:
        inspect_model(folder, {"revision": "v1"})
    assert (raised.value.folder, raised.value.revision) == (folder, "v1")
    assert server.requests == []
