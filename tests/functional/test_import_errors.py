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

"""What a user can get wrong is found before the work, said in one line, and loses nothing."""

import errno
import functools
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import pytest
from expected_errors import Containing, facts, raises
from odd_models import change_config
from roots import contents, of_any_import, tree

from megatron.bridge import AutoBridge
from megatron.bridge.release.errors import ReleaseError
from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.release.source import model_dir as model_folder
from megatron.bridge.release.source.errors import (
    CustomWeightsFileError,
    FreeSpaceError,
    InvalidConfigError,
    InvalidModelNameError,
    ModelDirNotFoundError,
    NotModelDirError,
    OutputInModelError,
    WeightsNotFoundError,
)
from megatron.bridge.release.validation.errors import (
    CheckpointExistsError,
    ConfigRejectedError,
    CustomCodeNotFoundError,
    CustomConfigCodeError,
    OutputPathError,
    UnsupportedArchitectureError,
)
from megatron.bridge.release.write import sidecar_files, tokenizer
from megatron.bridge.release.write.errors import TokenizerFilesError
from megatron.bridge.release.write.filesystem import Filesystem
from megatron.bridge.release.write.writer import ReleaseSaveStrategy


_OWN_CODE = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.DeciLMForCausalLM"}


def _no_config(hf: Path) -> None:
    (hf / "config.json").unlink()


def _no_architecture(hf: Path) -> None:
    (hf / "config.json").write_text("{}")


def _foreign_architecture(hf: Path) -> None:
    change_config(hf, architectures=["BertForMaskedLM"])


def _causal_but_without_a_bridge(hf: Path) -> None:
    change_config(hf, architectures=["BloomForCausalLM"])


def _deep_config(hf: Path) -> None:
    (hf / "config.json").write_text('{"architectures": ' + "[" * 100000 + "]" * 100000 + "}")


def _deep_field(hf: Path) -> None:
    change_config(hf, x=functools.reduce(lambda inner, _: [inner], range(60), 1))


def _architecture_without_a_list(hf: Path) -> None:
    change_config(hf, architectures="LlamaForCausalLM")


def _config_of_its_own_code(hf: Path) -> None:
    change_config(hf, architectures=["DeciLMForCausalLM"], model_type="its-own", auto_map=_OWN_CODE)


def _model_type_that_is_a_list(hf: Path) -> None:
    change_config(hf, model_type=["llama"])


def _weights_of_another_name(hf: Path) -> None:
    change_config(hf, transformers_weights="other.safetensors")


def _no_weights(hf: Path) -> None:
    (hf / "model.safetensors").unlink()


def _missing(hf: Path) -> None:
    shutil.rmtree(hf)


# What is done to a model, and the error.
BAD_MODELS: dict[Callable[[Path], None], Callable[[Path], ReleaseError]] = {
    _missing: lambda hf: ModelDirNotFoundError(hf, None),
    _no_config: lambda hf: NotModelDirError(hf, "directory"),
    _no_architecture: lambda hf: InvalidConfigError(hf / "config.json", Containing("architectures")),
    _architecture_without_a_list: lambda hf: InvalidConfigError(hf / "config.json", Containing("architectures")),
    _deep_config: lambda hf: InvalidConfigError(hf / "config.json", ANY),
    _deep_field: lambda hf: InvalidConfigError(hf / "config.json", Containing("50")),
    _config_of_its_own_code: lambda hf: CustomConfigCodeError(hf, "own.Config"),
    _model_type_that_is_a_list: lambda hf: ConfigRejectedError(hf / "config.json", Containing("list")),
    _weights_of_another_name: lambda hf: CustomWeightsFileError(hf / "config.json", "other.safetensors"),
    _foreign_architecture: lambda hf: UnsupportedArchitectureError(hf, ("BertForMaskedLM",)),
    _causal_but_without_a_bridge: lambda hf: UnsupportedArchitectureError(hf, ("BloomForCausalLM",)),
    _no_weights: lambda hf: WeightsNotFoundError(hf, (), "none"),
}


def _fails(hf: str | Path, root: str | Path, expected: ReleaseError, **keywords: bool) -> None:
    with raises(expected):
        AutoBridge.import_ckpt(hf, root, release=True, **keywords)


@pytest.mark.parametrize("spoil", BAD_MODELS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_invalid_model_raises_single_line_and_writes_nothing(hf, tmp_path, spoil):
    spoil(hf)
    _fails(hf, tmp_path / "root", BAD_MODELS[spoil](hf))
    assert not (tmp_path / "root").exists()


def test_custom_code_missing_on_hub_raises_single_line_error(hf, tmp_path):
    _config_of_its_own_code(hf)
    change_config(hf, auto_map=_OWN_CODE | {"AutoConfig": "no-such-organization/model--own.Config"})
    expected = CustomCodeNotFoundError(hf, "no-such-organization/model", ANY)
    _fails(hf, tmp_path / "root", expected, trust_remote_code=True)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", InvalidModelNameError("")),
        ("a\0b", InvalidModelNameError("a\0b")),
        ("x" * 300, ModelDirNotFoundError(Path("x" * 300), None)),
    ],
    ids=["empty", "NUL", "long"],
)
def test_import_refuses_invalid_model_name(tmp_path, name, error):
    _fails(name, tmp_path / "root", error)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("name", "problem"),
    [("", "empty"), ("a\0b", "empty"), ("x" * 300, "too long")],
    ids=["empty", "NUL", "long"],
)
def test_import_refuses_invalid_output_path(hf, tmp_path, monkeypatch, name, problem):
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    _fails(hf, name, OutputPathError(name, problem))
    assert tree(tmp_path) == before


def test_import_refuses_file_as_output_path(hf, tmp_path):
    (tmp_path / "file").write_text("kept")
    for root in (tmp_path / "file", tmp_path / "file/root"):
        _fails(hf, root, OutputPathError(root, "file", at=tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept"


def test_import_refuses_dangling_symlink_as_output_path(hf, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    _fails(hf, tmp_path / "link", OutputPathError(tmp_path / "link", "dangling symlink", at=tmp_path / "link"))


def test_import_refuses_output_path_inside_model_directory(hf, tmp_path):
    before = tree(hf)
    (tmp_path / "other").mkdir()
    for root in (hf, hf / "megatron", tmp_path / "other/../hf/x"):
        _fails(hf, root, OutputInModelError(root, hf))
    assert tree(hf) == before


# What lets root read, write and replace whatever it wants.
_POWERS = "-dac_override,-dac_read_search,-fowner"


def _read_only_parent(folder: Path, release: Path) -> Path:
    folder.mkdir(mode=0o555)
    return folder / "root"


def _read_only_root(folder: Path, release: Path) -> Path:
    shutil.copytree(release, folder).chmod(0o555)
    return folder


def _read_only_tracker(folder: Path, release: Path) -> Path:
    shutil.copytree(release, folder)
    (folder / TRACKER).chmod(0o444)
    return folder


def _read_only_release(folder: Path, release: Path) -> Path:
    shutil.copytree(release, folder)
    (folder / "release").chmod(0o555)
    return folder


def _tracker_of_another_user(folder: Path, release: Path) -> Path:
    """In a folder where everyone may write, and replace what is their own."""
    shutil.copytree(release, folder)
    os.chown(folder / TRACKER, 65534, 65534)
    os.chown(folder, 65534, 65534)
    folder.chmod(0o1777)
    return folder


# The error, or the errno of a PermissionError; None where the import succeeds.
PERMISSIONS: dict[Callable[[Path, Path], Path], Callable[[Path], OutputPathError] | int | None] = {
    _read_only_parent: lambda root: OutputPathError(root, "no permission", at=root.parent),
    _read_only_root: lambda root: OutputPathError(root, "no permission", at=root),
    # To replace a file is a matter of its folder.
    _read_only_tracker: None,
    _read_only_release: errno.EACCES,
    _tracker_of_another_user: errno.EPERM,
}


@pytest.fixture(scope="module")
def refused(tiny, other, tmp_path_factory) -> dict[str, tuple[Path, dict[str, bytes], Exception | None]]:
    """The error of one process without root's powers for each root, the root, and what it held before."""
    base, command, cases = tmp_path_factory.mktemp("permissions"), [sys.executable], dict(PERMISSIONS)
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may write anywhere, and there is no setpriv to take that away")
        command = ["setpriv", f"--bounding-set={_POWERS}", f"--inh-caps={_POWERS}", sys.executable]
    else:
        # Nobody else can give a file away.
        del cases[_tracker_of_another_user]
    roots = {prepare.__name__: prepare(base / prepare.__name__, tiny.root) for prepare in cases}
    before = {name: contents(root) for name, root in roots.items()}
    code = (
        "import pickle, sys\n"
        "from megatron.bridge import AutoBridge\n"
        "hf, out, *roots = sys.argv[1:]\n"
        "errors = []\n"
        "for root in roots:\n"
        "    try:\n"
        "        errors.append(AutoBridge.import_ckpt(hf, root, release=True, overwrite=True))\n"
        "    except Exception as error:\n"
        "        errors.append(error)\n"
        "pickle.dump(errors, open(out, 'wb'))\n"
    )
    run = subprocess.run(
        [*command, "-W", "ignore", "-c", code, other.hf, base / "errors", *roots.values()],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    errors = pickle.loads((base / "errors").read_bytes())
    return {name: (roots[name], before[name], error) for name, error in zip(roots, errors, strict=True)}


@pytest.mark.parametrize("prepare", PERMISSIONS, ids=lambda prepare: prepare.__name__.strip("_"))
def test_missing_permission_is_the_error_and_keeps_the_old(refused, prepare):
    if prepare.__name__ not in refused:
        pytest.skip("only root can make a file another user's")
    root, before, error = refused[prepare.__name__]
    expected = PERMISSIONS[prepare]
    if expected is None:
        assert error is None and contents(root) != before and tree(root) == sorted(map(of_any_import, before))
        return
    folder = root if root.exists() else root.parent
    if isinstance(expected, int):
        assert (type(error), error.errno) == (PermissionError, expected)
    else:
        assert facts(error) == facts(expected(root))
    assert "\n" not in str(error)
    assert contents(root) == before
    assert not list(folder.glob(".release-*"))


def test_import_is_refused_when_free_space_is_too_small(hf, tmp_path, monkeypatch):
    monkeypatch.setattr(model_folder.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(FreeSpaceError) as raised:
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert (raised.value.path, raised.value.free) == (tmp_path / "root", "1.00kB")
    assert re.fullmatch(r"[1-9][0-9.]*kB", raised.value.needed)


def test_directory_with_a_checkpoint_is_refused_early(hf, tiny, tmp_path, monkeypatch):
    root = Path(shutil.copytree(tiny.root, tmp_path / "root"))
    before = contents(root)
    monkeypatch.setattr(AutoBridge, "from_hf_pretrained", None)
    found = ("release", Containing("release"))
    _fails(
        hf, root, CheckpointExistsError(root, found, str(tiny.hf), is_release=True, can_repair=False, overwrite=False)
    )
    assert contents(root) == before


def test_import_over_upstream_checkpoint_suggests_repair(hf, default):
    found = ("iter_0000000", Containing("0"))
    expected = CheckpointExistsError(default, found, None, is_release=False, can_repair=True, overwrite=False)
    _fails(hf, default, expected)


def test_import_expands_tilde_in_output_path(hf, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(hf)
    AutoBridge.import_ckpt(hf, "~/out", release=True)
    assert tree(tmp_path / "out") == tree(tiny.root) and not (hf / "~").exists()


def _disk_full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "place",
    [
        (sidecar_files, "write_flags"),
        (tokenizer, "copy_files"),
        (ReleaseSaveStrategy, "save"),
        (Filesystem, "sync"),
    ],
    ids=lambda place: place[1],
)
def test_failed_import_keeps_the_old_checkpoint(tiny, other, tmp_path, monkeypatch, place):
    root = tmp_path / "root"
    AutoBridge.import_ckpt(tiny.hf, root, release=True)
    before = contents(root)
    monkeypatch.setattr(*place, _disk_full)
    with pytest.raises((OSError, TokenizerFilesError)) as raised:
        AutoBridge.import_ckpt(other.hf, root, release=True, overwrite=True)
    if place[0] is tokenizer:
        assert facts(raised.value) == facts(TokenizerFilesError(str(other.hf), Containing("Errno 28")))
    else:
        assert raised.value.errno == errno.ENOSPC
    assert contents(root) == before
    assert sorted(path.name for path in root.iterdir()) == [
        TRACKER,
        TRAIN_STATE_TRACKER,
        "release",
    ]
