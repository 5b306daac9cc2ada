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

"""A local server that speaks the Hugging Face Hub's protocol, as far as `huggingface_hub` needs it."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class Repository:
    """A model of the server.

    Attributes:
        revisions: Commit of each branch and tag.
        commits: Directory with the files of each commit.
        token: Token without which the model cannot be seen; empty if it is public.
        gated: Whether its files are refused.
    """

    revisions: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Path] = field(default_factory=dict)
    token: str = ""
    gated: bool = False

    def add(self, folder: Path, *names: str) -> str:
        """Add a commit, and let branches or tags point to it."""
        commit = hashlib.sha1(str(folder).encode()).hexdigest()
        self.commits[commit] = folder
        self.revisions |= dict.fromkeys(names, commit)
        return commit


class HubServer(ThreadingHTTPServer):
    """The server.

    Attributes:
        repositories: Models by their IDs.
        requests: Method and path of each request, in order.
        rate_limited: Whether each request is refused with 429.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.rate_limited = False

    @property
    def endpoint(self) -> str:
        """Its URL, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self) -> list[str]:
        """Return the names of the downloaded files, in order."""
        return sorted(request.split("/", 5)[-1] for request in self.requests if request.startswith("GET /org/"))


@contextmanager
def serve() -> Iterator[HubServer]:
    """Run a server."""
    with HubServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def use(server: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's `huggingface_hub` use a server and a cache, and its child processes too."""
    for name, value in environment(server, cache).items():
        monkeypatch.setenv(name, value)
    apply_environment(monkeypatch.setattr)


def apply_environment(set_value: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let an imported `huggingface_hub` use what the variables of `environment` name: it reads them when it is imported."""
    from huggingface_hub import constants

    endpoint = os.environ["HF_ENDPOINT"]
    set_value(constants, "ENDPOINT", endpoint)
    set_value(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    set_value(constants, "HF_HUB_CACHE", os.environ["HF_HUB_CACHE"])
    set_value(constants, "HF_HUB_DISABLE_XET", True)


def environment(server: HubServer, cache: Path) -> dict[str, str]:
    """Return the variables with which a process uses a server and a cache."""
    return {"HF_ENDPOINT": server.endpoint, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        """Answer without the body."""
        self._answer()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4:] if api else parts[2:]
        repository = self.server.repositories.get(name)
        if self.server.rate_limited:
            return self._send(429, b"")
        authorized = repository is not None and self.headers.get("Authorization") == f"Bearer {repository.token}"
        if repository is not None and repository.token and not authorized:
            invalid = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return self._send(401, b"", invalid if "Authorization" in self.headers else {})
        if repository is None:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        revision = rest[1] if len(rest) > 1 else "main"
        commit = repository.revisions.get(revision, revision)
        if commit not in repository.commits:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        folder = repository.commits[commit]
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        if rest[:1] == ["tree"]:
            return self._send_json([_entry(folder, name) for name in files])
        if api:
            return self._send_json({"id": name, "sha": commit, "siblings": [{"rfilename": name} for name in files]})
        if repository.gated:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        file = "/".join(rest[2:])
        if file not in files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        body = (folder / file).read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_entry(folder, file)["oid"]}"', "Accept-Ranges": "bytes"}
        begin, end = 0, len(body)
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), int(last) + 1 if last else end
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(body)}"
        self._send(206 if wanted else 200, body[begin:end], headers)

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(folder: Path, name: str) -> dict[str, Any]:
    body = (folder / name).read_bytes()
    return {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
