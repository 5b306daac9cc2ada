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

"""`check` finds whatever is wrong with a checkpoint, and runs nothing that is in it."""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.core.dist_checkpointing.validation import save_integrity_manifest, verify_integrity_manifest
from megatron_lm import load, megatron_lm, release_flags
from models import make_tiny_llama
from roots import TRACKER, shard
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import FileSystemReader

from megatron.bridge import AutoBridge
from megatron.bridge.training.model_load_save import load_tokenizer
from megatron.bridge.training.release.publishing import Publication
from megatron.bridge.utils.host import conversion_process_group
from megatron.bridge_release import comparing
from megatron.bridge_release.__main__ import main
from megatron.bridge_release.args_check import NEEDED_ARGS
from megatron.bridge_release.checking import check
from megatron.bridge_release.comparing import compare
from megatron.bridge_release.integrity import write_manifest
from megatron.bridge_release.layout import INTEGRITY_FILE, SUMS_FILE
from megatron.bridge_release.reading import Entry, read_metadata, read_state
from megatron.bridge_release.repairing import repair
from megatron.bridge_release.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM
from megatron.bridge_release.streamed_comparing import find_equal


def _files(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())


def _loads(root: Path) -> dict[str, bool]:
    return {reader.name: reader.loads for reader in check(root).readers}


def test_a_release_loads_where_it_should_and_the_flags_to_start_with_are_its_own(tiny, capsys):
    assert main(["check", str(tiny.root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["loadable"] and not report["problems"] and not report["notes"]
    assert (report["layout"], report["tracker"], report["folder"]) == ("release", "release", "release")
    assert report["made_of"] == str(tiny.hf)
    assert {file["name"] for file in report["files"]} == {
        path.relative_to("release").as_posix() for path in _files(tiny.root) if path.parts[0] == "release"
    }
    assert all(file["verified"] for file in report["files"] if file["name"] != INTEGRITY_FILE)
    loads = {reader["name"]: reader["loads"] for reader in report["readers"]}
    assert loads == {MEGATRON_LM: True, OLDER_MEGATRON_LM: True, BRIDGE: True, UPSTREAM: False}
    flags = (tiny.root / "release" / "megatron_lm_args.txt").read_text().split()
    assert report["launch"] == [
        *(*flags, "--tokenizer-type", "HuggingFaceTokenizer"),
        *("--tokenizer-model", str(tiny.root / "release" / "tokenizer")),
        *("--load", str(tiny.root), "--exit-on-missing-checkpoint"),
    ]


def test_the_table_names_every_file_and_reader_and_the_launch(tiny, capsys):
    assert main(["check", str(tiny.root)]) == 0
    shown = capsys.readouterr().out
    for path in _files(tiny.root / "release"):
        assert f" {path} " in shown
    assert "It loads." in shown and f"--load {tiny.root} --exit-on-missing-checkpoint" in shown
    assert "it knows no release checkpoints" in shown


def test_it_starts_without_torch_and_without_bridge(tiny):
    code = (
        "import sys\n"
        "from megatron.bridge_release.__main__ import main\n"
        "assert main(['check', sys.argv[1]]) == 0\n"
        "print(sorted(sys.modules.keys() & {'torch', 'numpy', 'megatron.core', 'megatron.bridge'}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tiny.root], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("\n[]\n")


def test_what_it_reads_of_the_metadata_is_what_torch_reads(tiny):
    expected = FileSystemReader(tiny.root / "release").read_metadata()
    found = read_metadata(tiny.root / "release")
    assert {(entry.key, entry.at, entry.file, entry.offset, entry.length) for entry in found.entries} == {
        (index.fqn, index.offset and tuple(index.offset), info.relative_path, info.offset, info.length)
        for index, info in expected.storage_data.items()
    }
    tensors = {key: value for key, value in expected.state_dict_metadata.items() if hasattr(value, "chunks")}
    assert {key: (tensor.shape, tensor.chunks) for key, tensor in found.tensors.items()} == {
        key: (tuple(value.size), tuple((tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in value.chunks))
        for key, value in tensors.items()
    }
    assert set(found.objects) == expected.state_dict_metadata.keys() - tensors.keys()


def test_what_it_reads_of_the_args_is_what_torch_reads(tiny):
    expected = vars(torch.load(tiny.root / "release" / "common.pt", weights_only=True)["args"])
    found = vars(read_state(tiny.root / "release")["args"])
    assert found == {name: str(value) if isinstance(value, torch.dtype) else value for name, value in expected.items()}
    assert set(NEEDED_ARGS) <= found.keys()


def _damages(data: bytes) -> list[tuple[str, bytes | None]]:
    """Ways to spoil a file."""
    size = len(data)
    damages: list[tuple[str, bytes | None]] = [("removed", None)]
    damages += [(f"truncated to {end}", data[:end]) for end in sorted({0, size // 2, size - 1})]
    # As many, whatever the size: some files hold the path of the folder that a test runs in.
    for at in sorted({*(part * size // 24 for part in range(24)), size - 1}):
        for mask in (0x01, 0x80):
            damages.append((f"byte {at} ^ {mask}", data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]))
    return damages


def test_every_file_removed_truncated_or_with_a_byte_flipped_is_found(root, count):
    cases, missed = 0, []
    for file in _files(root):
        whole = (root / file).read_bytes()
        for damage, data in _damages(whole):
            if data is None:
                (root / file).unlink()
            else:
                (root / file).write_bytes(data)
            cases += 1
            report = check(root)
            # A checksum that is damaged accuses the file that it is of.
            named = file.name == INTEGRITY_FILE or any(file.name in problem for problem in report.problems)
            if report.loadable or not named:
                missed.append(f"{file} {damage}: {report.problems}")
        (root / file).write_bytes(whole)
    count("every file", "check", cases)
    assert missed == []
    assert check(root).loadable


def _value_of(data: bytes, entry: Entry) -> int:
    """Tell where the first byte of a stored tensor's values is, by the ZIP format."""
    archive = zipfile.ZipFile(io.BytesIO(data[entry.offset : entry.offset + entry.length]))
    (values,) = (info for info in archive.infolist() if info.filename.endswith("/data/0"))
    header = entry.offset + values.header_offset
    return header + 30 + sum(struct.unpack("<HH", data[header + 26 : header + 30]))


def test_files_that_are_not_the_checkpoints_are_no_damage_and_one_note(root):
    folder = root / "release"
    (folder / "NOTES.md").write_text("mine")
    report = check(root)
    assert report.loadable
    own = f"{folder} holds files that integrity.json does not name, not the checkpoint's own: "
    assert report.notes == [f"{own}NOTES.md."]
    (folder / "runs").mkdir()
    for number in range(10_000):
        (folder / f"runs/{number:05d}").touch()
    report = check(root)
    assert report.loadable
    assert report.notes == [f"{own}NOTES.md, runs/00000, runs/00001, ... (10001 files)."]


def test_ten_thousand_links_are_not_ten_thousand_problems(root):
    for number in range(10_000):
        (root / f"release/{number}").symlink_to("common.pt")
    assert len(check(root).problems) == 4
    assert check(root).problems[-1] == f"{root}/release holds 9997 more links, or what is no file."


def test_megatron_cores_own_check_passes_and_fails_after_a_flipped_byte_of_any_file(root):
    verify_integrity_manifest(str(root / "release"))
    for file in _files(root / "release"):
        if str(file) == INTEGRITY_FILE:
            continue
        data = (root / "release" / file).read_bytes()
        (root / "release" / file).write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(CheckpointingException, match=f"for 1 file.*\n  {file}: hash mismatch"):
            verify_integrity_manifest(str(root / "release"))
        (root / "release" / file).write_bytes(data)


def test_megatron_lm_loads_it_with_verify_integrity_and_refuses_it_after_a_flipped_byte(root):
    with megatron_lm([*release_flags(root), "--verify-integrity"]) as args:
        assert load(args)[1] == 0
        for file in (root / "release").glob("*.distcp"):
            data = file.read_bytes()
            file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            with pytest.raises(CheckpointingException, match=f"{file.name}: hash mismatch"):
                load(args)
            file.write_bytes(data)
        assert load(args)[1] == 0


def _as_before_the_manifest(root: Path) -> None:
    """Give a release the checksums that it had before."""
    folder = root / "release"
    (folder / INTEGRITY_FILE).unlink()
    names = [str(name) for name in _files(folder)]
    command = ["sha256sum", *names]
    sums = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    (folder / SUMS_FILE).write_text(sums)


def test_a_release_with_the_checksums_of_before_is_read_and_repaired(tiny, root, capsys):
    _as_before_the_manifest(root)
    report = check(root)
    assert report.loadable and all(file.verified for file in report.files if file.name != SUMS_FILE)
    (note,) = report.notes
    assert "--verify-integrity" in note and note.endswith(f"python -m megatron.bridge_release repair {root}")
    for file in (root / "release").glob("*.distcp"):
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert f"{file.name} has another checksum than when it was written" in check(root).problems[0]
        file.write_bytes(data)
    assert main(["repair", str(root)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "write release/integrity.json",
        "remove release/SHA256SUMS, whose place integrity.json takes",
    ]
    assert _files(root) == _files(tiny.root) and check(root).loadable and not check(root).notes
    verify_integrity_manifest(str(root / "release"))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"files": []}', '{"algorithm": "md5", "files": {}}', '{"files": {"common.pt": "abc"}}']
    + ['{"files": {}}', "[" * 100_000, "\N{SNOWMAN}"],
    ids=range(10),
)
def test_a_manifest_that_is_damaged_or_incomplete_is_a_problem_that_repair_mends(root, text):
    (root / "release" / INTEGRITY_FILE).write_text(text)
    (problem,) = check(root).problems
    assert problem.startswith(f"{root}/release/integrity.json ") and "\n" not in problem
    assert problem.endswith(f"python -m megatron.bridge_release repair {root}")
    repair(root)
    assert check(root).loadable


def test_the_manifest_that_megatron_lm_writes_of_a_training_names_what_it_saved(root):
    """It names its own files alone, and repair, which refuses a training, is not offered."""
    folder = root / "iter_0000005"
    (root / "release").rename(folder)
    (root / TRACKER).write_text("5")
    (folder / INTEGRITY_FILE).unlink()
    save_integrity_manifest(str(folder))
    assert check(root).loadable and not check(root).notes
    (folder / INTEGRITY_FILE).write_text("{}")
    (problem,) = check(root).problems
    assert "Restore it from a copy" in problem


def test_without_checksums_a_missing_or_cut_shard_and_a_flipped_bit_in_any_tensor_are_found(default, tmp_path):
    root = Path(shutil.copytree(default, tmp_path / "root"))
    file = shard(root / "iter_0000000")
    whole = file.read_bytes()
    assert not check(root).beyond_repair
    for data in (None, b"", whole[:-1], whole + b"\0"):
        file.unlink() if data is None else file.write_bytes(data)
        assert any("__0_0.distcp" in problem for problem in check(root).beyond_repair)
    tensors = [entry for entry in read_metadata(root / "iter_0000000").entries if entry.at is not None]
    assert len(tensors) > 10
    for entry in tensors:
        at = _value_of(whole, entry)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        (problem,) = check(root).beyond_repair
        assert f"is damaged in {entry.key} (archive/data/0 has another checksum)" in problem
    file.write_bytes(whole)
    assert not check(root).beyond_repair


def test_upstreams_import_is_for_bridge_alone_and_it_says_what_to_do(default):
    report = check(default)
    assert report.layout == "import" and not report.loadable
    assert _loads(default) == {MEGATRON_LM: False, OLDER_MEGATRON_LM: False, BRIDGE: True, UPSTREAM: True}
    (problem,) = report.problems
    assert problem.endswith(f"python -m megatron.bridge_release repair {default}")


@pytest.mark.parametrize(
    ("tracker", "expected"),
    [
        (
            None,
            "has no latest_checkpointed_iteration.txt: Megatron-LM takes it for empty. Checkpoints there: release.",
        ),
        ("", "holds '', neither 'release' nor an iteration number."),
        ("releas", "holds 'releas', neither 'release' nor an iteration number."),
        ("100", "names the checkpoint iter_0000100, which is not there. Checkpoints there: release."),
    ],
)
def test_a_tracker_that_is_torn_or_names_nothing_is_found(root, tracker, expected):
    (root / TRACKER).unlink() if tracker is None else (root / TRACKER).write_text(tracker)
    report = check(root)
    assert not report.loadable and expected in report.problems[0]
    assert f"python -m megatron.bridge_release repair {root}" in report.problems[0]


def test_a_path_that_is_no_root_gets_one_clear_error(root, tmp_path, capsys):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for path, expected in {
        tmp_path / "missing": "missing does not exist. Give the checkpoint root",
        root / TRACKER: f"{TRACKER} is a file. Give the checkpoint root",
        tmp_path / "link": "link is a dangling link. Give the checkpoint root",
        root / "release": f"release is a checkpoint folder. Give the root that holds it: {root}",
        tmp_path / "empty": "Checkpoints there: none. Import the model again, or give another folder.",
    }.items():
        assert main(["check", str(path)]) == 1
        shown = capsys.readouterr().out
        assert expected in shown and "problem 2" not in shown


class _Attack:
    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)

    def __init__(self, marker: Path) -> None:
        self.marker = marker


def test_nothing_that_a_file_names_is_run(root, tmp_path, monkeypatch):
    marker = tmp_path / "run"
    folder = root / "release"
    (folder / ".metadata").write_bytes(pickle.dumps(_Attack(marker)))
    torch.save({"args": _Attack(marker)}, folder / "common.pt")
    torch.save({"step": _Attack(marker)}, folder / "train_state.pt")
    config = (folder / "run_config.yaml").read_text()
    (folder / "run_config.yaml").write_text(f"{config}evil: !!python/object/apply:os.system ['touch {marker}']\n")
    write_manifest(folder)
    report = check(root)
    for name in (".metadata", "common.pt", "train_state.pt", "run_config.yaml"):
        assert any(name in problem for problem in report.problems)
    assert "it names posix.system, which no checkpoint should" in report.problems[0]
    assert main(["repair", str(root)]) == 1
    assert not marker.exists()


def test_no_path_is_followed_out_of_the_root(root, tmp_path):
    folder = root / "release"
    metadata = (folder / ".metadata").read_bytes()
    outside = tmp_path / "outside.distcp"
    file = shard(folder)
    shutil.copy(file, outside)
    # As long as the name that it takes the place of.
    name = f"../../{'x' * (len(file.name) - len('../../.dist'))}.dist"
    (folder / ".metadata").write_bytes(metadata.replace(file.name.encode(), name.encode()))
    assert f"names a file out of the folder, '{name}'" in check(root).problems[0]
    (folder / ".metadata").write_bytes(metadata)
    file.unlink()
    file.symlink_to(outside)
    report = check(root)
    assert f"{file} is a link, or no file: it is not followed" in report.problems[0]
    assert main(["repair", str(root)]) == 1
    file.unlink()
    shutil.copy(outside, file)
    for name in ("train_state.pt", "common.pt", ".metadata", "run_config.yaml", "megatron_lm_args.txt"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        (problem,) = check(root).problems
        assert problem.startswith(f"{folder / name} is a link, or no file: it is not followed")
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    assert check(root).loadable
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "is a link that leads out of the root" in check(root).problems[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_layers": 7}, "linear_proj.weight is 2 by 64 by 64, and args say 7 by 64 by 64"),
        ({"kv_channels": None}, "args.kv_channels is None, no number"),
        ({"ffn_hidden_size": 97}, "linear_fc2.weight is 2 by 64 by 96, and args say 2 by 64 by 97"),
        ({"padded_vocab_size": 640}, "word_embeddings.weight is 512 by 64, and args say 640 by 64"),
        ({"untie_embeddings_and_output_weights": False}, "untie_embeddings_and_output_weights is False, and the ten"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_args_that_are_not_the_tensors_are_found_and_derived_anew(root, changes, expected):
    common = torch.load(root / "release" / "common.pt", weights_only=True)
    right = dict(vars(common["args"]))
    vars(common["args"]).update(changes)
    torch.save(common, root / "release" / "common.pt")
    write_manifest(root / "release")
    (problem,) = check(root).problems
    assert expected in problem
    repair(root)
    assert check(root).loadable
    found = vars(torch.load(root / "release" / "common.pt", weights_only=True)["args"])
    assert found == right | {"tokenizer_model": str(root / "release" / "tokenizer")}


def test_a_rope_factor_that_megatron_lms_builder_ignores_is_noted(root):
    assert not any("rope" in note for note in check(root).notes)
    common = torch.load(root / "release" / "common.pt", weights_only=True)
    vars(common["args"]).update(use_rope_scaling=True, rope_scaling_factor=32.0)
    torch.save(common, root / "release" / "common.pt")
    write_manifest(root / "release")
    (note,) = (note for note in check(root).notes if "rope" in note)
    assert "ignores --rope-scaling-factor=32.0 and takes 8, which is another function" in note


def test_a_root_whose_name_is_markup_is_shown_as_it_is(tiny, tmp_path, capsys):
    root = Path(shutil.copytree(tiny.root, tmp_path / "a[red]b[/b]"))
    assert main(["check", str(root)]) == 0
    assert capsys.readouterr().out.startswith(f"{root}: release\n")


def test_made_of_another_model_is_a_problem(tiny, other, root, capsys):
    assert main(["check", str(root), "--made-of", str(tiny.hf)]) == 0
    assert f"made of: {tiny.hf}\n" in capsys.readouterr().out
    assert main(["check", str(root), "--made-of", str(other.hf)]) == 1
    assert f"problem 1: {root} holds a release of {tiny.hf}, not of {other.hf}." in capsys.readouterr().out


def test_made_of_is_not_asked_where_there_is_no_release(default, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "missing", tmp_path / "empty", default):
        assert main(["check", str(root), "--made-of", "a/model", "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        (problem,) = report["problems"]
        assert "a/model" not in problem
        assert report["notes"][-1] == "Not asked whether it was made of a/model: the problems come first."


def test_a_release_that_does_not_say_what_it_was_made_of_is_noted_and_repair_asks_its_run_config(tiny, root, capsys):
    (root / "release/source.json").unlink()
    write_manifest(root / "release")
    report = check(root)
    assert report.loadable and report.made_of is None
    assert report.notes == [
        f"{root}/release does not say which model it was made of. python -m megatron.bridge_release repair {root}"
    ]
    assert main(["check", str(root), "--made-of", str(tiny.hf)]) == 1
    assert "does not say which model it was made of" in capsys.readouterr().out
    steps = repair(root)
    assert steps == [f"write release/source.json: it was made of {tiny.hf}", "write release/integrity.json"]
    assert main(["check", str(root), "--made-of", str(tiny.hf)]) == 0 and not check(root).notes
    assert main(["check", str(root), "--made-of", "another/model"]) == 1


def test_a_damaged_record_of_the_model_is_written_anew(tiny, root):
    (root / "release/source.json").write_text("{")
    write_manifest(root / "release")
    (problem,) = check(root).problems
    assert problem.startswith(f"{root}/release/source.json cannot be read: ")
    repair(root)
    assert check(root).loadable and check(root).made_of == str(tiny.hf)


def test_an_import_at_work_is_told_from_one_that_died(root):
    publication = Publication(root)
    staging = publication.begin()
    try:
        assert f"An import is writing into it now (process {os.getpid()} on " in check(root).notes[0]
    finally:
        publication.end()
    assert check(root).notes == []
    staging.mkdir()
    assert check(root).notes == [f"An import died, and left {staging.name}. The next import or repair clears it."]


def test_a_root_that_has_moved_gets_its_tokenizers_new_place(tiny, tmp_path, monkeypatch, capsys):
    hf, first = tiny.hf, tmp_path / "first"
    AutoBridge.import_ckpt(hf, first, release=True)
    assert not check(first).notes
    root = first.rename(tmp_path / "second")
    assert check(root).notes == [
        f"args.tokenizer_model {first}/release/tokenizer is not there: python -m megatron.bridge_release repair {root}"
    ]
    before = torch.load(root / "release/common.pt", weights_only=True)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["repair", "second"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "write release/common.pt, with the tokenizer's place",
        "write release/integrity.json",
    ]
    found = torch.load(root / "release/common.pt", weights_only=True)
    assert vars(found.pop("args")) == vars(before.pop("args")) | {"tokenizer_model": f"{root}/release/tokenizer"}
    assert found.keys() == before.keys()
    assert check(root).loadable and not check(root).notes and repair(root) == []
    assert load_tokenizer(str(root)).vocab_size == 512


def test_deep_finds_the_one_value_that_differs(tiny, root, tmp_path, capsys):
    assert main(["check", str(root), "--deep", str(tiny.hf), "--json"]) == 0
    source = load_file(tiny.hf / "model.safetensors")
    report = json.loads(capsys.readouterr().out)
    assert report["notes"] == [f"{len(source)} tensors are bit by bit those of {tiny.hf}."]
    hf = Path(shutil.copytree(tiny.hf, tmp_path / "hf"))
    name = "model.layers.1.mlp.up_proj.weight"
    source[name].view(torch.int16)[3, 5] ^= 1
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    assert main(["check", str(root), "--deep", str(hf), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == [f"{name} differs from {hf} in 1 of {source[name].numel()} values"]
    assert report["notes"] == [f"{len(source) - 1} tensors are bit by bit those of {hf}."]


def test_deep_tells_a_model_of_another_shape_and_one_that_is_not_there(root, tmp_path, capsys):
    other = make_tiny_llama(tmp_path / "hf", "eight-heads")
    assert main(["check", str(root), "--deep", str(other)]) == 1
    shown = capsys.readouterr().out
    assert f"Not compared with {other}: the checkpoint is not of this model: Global shape mis" in shown
    for path, expected in {
        tmp_path / "nothing": "does not exist. Give a Hugging Face model ID or a model's folder.",
        tmp_path: "is not a Hugging Face model: it has no config.json.",
    }.items():
        assert main(["check", str(root), "--deep", str(path)]) == 1
        assert f"Not compared with {path}: The model {path} {expected}" in capsys.readouterr().out


def test_deep_sees_without_loading_it_that_a_release_is_what_an_import_writes(tiny, tmp_path):
    source = load_file(tiny.hf / "model.safetensors")
    with conversion_process_group():
        equal = find_equal(tiny.root / "release", AutoBridge.from_hf_pretrained(tiny.hf))
    assert equal.tensors == source.keys() and len(equal.parameters) == 3 + 2 * 6
    hf = Path(shutil.copytree(tiny.hf, tmp_path / "hf"))
    layer = "model.layers.1.self_attn."
    source[f"{layer}k_proj.weight"].view(torch.int16)[3, 5] ^= 1
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    with conversion_process_group():
        less = find_equal(tiny.root / "release", AutoBridge.from_hf_pretrained(hf))
    assert equal.parameters - less.parameters == {"decoder.layers.1.self_attention.linear_qkv.weight"}
    assert equal.tensors - less.tensors == {f"{layer}{name}_proj.weight" for name in "qkv"}
    # What was not seen to be equal is compared by names.
    count = source[f"{layer}k_proj.weight"].numel()
    assert compare(tiny.root / "release", str(hf)) == (
        len(source) - 1,
        [f"{layer}k_proj.weight differs from {hf} in 1 of {count} values"],
    )


def test_deep_finds_a_tensor_of_which_the_checkpoint_has_only_the_beginning(tiny, tmp_path):
    hf = Path(shutil.copytree(tiny.hf, tmp_path / "hf"))
    source, name = load_file(hf / "model.safetensors"), "lm_head.weight"
    shape = source[name].shape
    source[name] = torch.cat([source[name], source[name][:8]])
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    assert compare(tiny.root / "release", str(hf)) == (
        len(source) - 1,
        [f"{name} is {tuple(shape)}, and {tuple(source[name].shape)} in {hf}"],
    )


def test_deep_compares_a_padded_vocabulary_and_takes_a_nan_for_itself(tmp_path):
    hf = make_tiny_llama(tmp_path / "hf", "padded-vocabulary")
    source = load_file(hf / "model.safetensors")
    source["model.layers.0.mlp.up_proj.weight"][2, 3] = float("nan")
    source["lm_head.weight"][-1, -1] = float("nan")
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    bridge = AutoBridge.from_hf_pretrained(hf)
    with conversion_process_group():
        models = []
        for rows in (500, 512):
            provider = bridge.to_megatron_provider(load_weights=rows == 500)
            provider.vocab_size = rows
            provider.finalize()
            models.append(provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True))
        weights = dict(models[0][0].named_parameters())
        for name, parameter in models[1][0].named_parameters():
            parameter.data.zero_()[: len(weights[name])] = weights[name].data
        # A release of such values is refused; what a repair makes one of is not.
        bridge.save_megatron_model(models[1], tmp_path / "root", hf_tokenizer_path=hf)
    repair(tmp_path / "root")
    assert read_metadata(tmp_path / "root" / "release").tensors["output_layer.weight"].shape[0] == 512
    assert compare(tmp_path / "root" / "release", str(hf)) == (len(source), [])


@pytest.mark.parametrize("batch", [1, 20_000, 1 << 30])
def test_deep_names_what_only_one_of_the_two_has_however_little_it_loads_at_a_time(tiny, tmp_path, monkeypatch, batch):
    monkeypatch.setattr(comparing, "_BATCH", batch)
    hf = Path(shutil.copytree(tiny.hf, tmp_path / "hf"))
    source = load_file(hf / "model.safetensors")
    del source["model.layers.1.mlp.down_proj.weight"]
    source["model.layers.0.self_attn.q_norm.weight"] = torch.ones(16)
    save_file(source, hf / "model.safetensors", metadata={"format": "pt"})
    equal, problems = compare(tiny.root / "release", str(hf))
    assert equal == len(source) - 1
    assert problems == [
        f"Of the checkpoint, without a source in {hf}: decoder.layers.1.mlp.linear_fc2.weight.",
        f"Of {hf}, not in the checkpoint: model.layers.0.self_attn.q_norm.weight.",
    ]


def test_deep_ignores_what_an_import_ignores_and_says_what_one_may_let_go(tmp_path):
    hf, root = make_tiny_llama(tmp_path / "hf", "gqa-tied"), tmp_path / "root"
    source = load_file(hf / "model.safetensors")
    ignored = (
        "model.rotary_emb.inv_freq",
        *(f"model.layers.0.self_attn.rotary_emb.{it}_cached" for it in ("cos", "sin")),
    )
    let_go = [f"model.layers.{layer}.self_attn.q_norm.weight" for layer in (0, 1)]
    # A copy of the embedding, which is tied.
    own = source | {"lm_head.weight": source["model.embed_tokens.weight"].clone()}
    stored = own | {name: torch.ones(8) for name in (*ignored, *let_go)}
    save_file(stored, hf / "model.safetensors", metadata={"format": "pt"})
    AutoBridge.import_ckpt(hf, root, release=True, allow_unused_tensors=["*.q_norm.weight"])
    equal, problems = compare(root / "release", str(hf))
    assert equal == len(own)
    assert problems == [
        f"Of {hf}, not in the checkpoint: model.layers.0…1.self_attn.q_norm.weight (2). Megatron's model has no place "
        "for it; an import lets go what allow_unused_tensors names."
    ]


def test_deep_reads_no_checkpoint_of_which_the_common_state_is_damaged(tiny, root, capsys):
    (root / "release/common.pt").write_bytes(b"x")
    assert main(["check", str(root), "--deep", str(tiny.hf), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert all(problem.endswith(f"repair {root}") for problem in report["problems"])
    assert f"Not compared with {tiny.hf}: the problems come first." in report["notes"]
