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

"""Checks one checkpoint folder of a root."""

import json
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from megatron.bridge.release.checkpoint_dir import CheckpointDir
from megatron.bridge.release.errors import CorruptFileError, command_line
from megatron.bridge.release.layout import (
    ADDED_FILES,
    COMMON_STATE,
    FLAGS_FILE,
    FORMAT_FILE,
    INTEGRITY_FILE,
    ITERATION_FOLDER,
    METADATA,
    RELEASE,
    RUN_CONFIG,
    SOURCE_FILE,
    SUMS_FILE,
    TOKENIZER,
    TRAIN_STATE,
    TRAIN_STATE_TRACKER,
    UPSTREAM_FILES,
)
from megatron.bridge.release.manifest import digests, files_of, read_manifest, read_sums
from megatron.bridge.release.source.provenance import source_from_run_config, read_source
from megatron.bridge.release.checkpoint_dir import name_release
from megatron.bridge.release.rope_factor import BUILT_IN_ROPE_SCALING_FACTOR, ENTRY_POINT, is_factor_ignored
from megatron.bridge.release.checkpoint_dir import read_run_config
from megatron.bridge.release.verify.args import describe_training, find_args_problem
from megatron.bridge.release.verify.dcp_metadata import (
    Metadata,
    read_args,
    read_common_entry,
    read_metadata,
    read_state,
    verify_entries,
)
from megatron.bridge.release.verify.launch_flags import launch_flags
from megatron.bridge.release.verify.report import BRIDGE, MEGATRON_LM, OLDER_MEGATRON_LM, UPSTREAM, File, Report


# The files that a repair writes anew.
WRITTEN_BY_REPAIR = (COMMON_STATE, *ADDED_FILES, SUMS_FILE)


class FolderCheck:
    """The checks of one checkpoint folder.

    Args:
        report: The report, which names the folder, and to which the checks add what they find.
        root: The root that holds the folder.
        release: Folder of the release that the folder belongs to; None if it is in the root.
    """

    def __init__(self, report: Report, root: CheckpointDir, release: Path | None = None) -> None:
        assert report.folder is not None
        self._release = release or root.path / RELEASE
        self._report, self._root, self._name = report, root, report.folder
        self._path = root.path / report.folder
        self._repair = command_line("repair", root.path)
        match = ITERATION_FOLDER.fullmatch(self._name)
        report.layout = "release" if match is None else "import" if int(match[1]) == 0 else "training"
        self._files: dict[str, File] = {}

    def run(self) -> None:
        """Report what is wrong with the folder, and for which readers.

        Raises:
            OSError: If the folder cannot be read.
        """
        report, path = self._report, self._path
        if not path.resolve().is_relative_to(self._root.path.resolve()):
            self._beyond_repair(f"{path} is a link that leads out of the root. Put the checkpoint itself there.")
            return
        links = [link for link in path.rglob("*") if link.is_symlink() or not (link.is_file() or link.is_dir())]
        for link in links[:3]:
            self._beyond_repair(f"{link} is a link, or no file: it is not followed. Put the file itself there.")
        if links[3:]:
            self._beyond_repair(f"{path} holds {len(links) - 3} more links, or what is no file.")
        if report.beyond_repair:
            return
        if not (path / METADATA).exists() and not (path / FORMAT_FILE).exists():
            self._beyond_repair(f"{path} contains no checkpoint in the format torch_dist. Import the model again.")
            return
        self._files = {name: File(name, (path / name).stat().st_size) for name in files_of(path)}
        self._check_format()
        metadata = self._check_metadata()
        self._check_bytes(metadata)
        self._check_common_state(metadata)
        self._check_bridge_files()
        if report.layout == "import":
            report.add_problem(
                f"The tracker of {self._root.path} says {(report.tracker or '').strip()!r}, iteration 0, which "
                f"Megatron-LM before core 0.16 refuses, and later ones without --finetune. {self._repair}",
                *(MEGATRON_LM, OLDER_MEGATRON_LM),
            )
        elif report.layout == "release":
            report.stop("it does not support release checkpoints", UPSTREAM)
        report.files = [self._files[name] for name in sorted(self._files)]
        if report.layout != "import":
            # What keeps Megatron-LM from starting is among the problems and notes.
            with suppress(ValueError):
                report.launch = launch_flags(self._root.path, path, self._release).flags

    def _beyond_repair(self, text: str, *readers: str) -> None:
        self._report.add_problem(text, *readers)
        self._report.beyond_repair.append(text)

    def _file_problem(self, name: str, problem: str, *readers: str) -> None:
        """Report what is wrong with a file; of several problems, the first.

        Args:
            name: Path of the file in the folder.
            problem: What is wrong, as a predicate of the file's name.
            readers: Names of the readers that cannot load the checkpoint; all of them if none is named.
        """
        file = self._files.setdefault(name, File(name, None))
        if file.problem is not None:
            return
        file.problem = problem
        repairable = name in WRITTEN_BY_REPAIR or (name == TRAIN_STATE and file.size is None)
        if repairable and self._report.layout != "training":
            self._report.add_problem(f"{self._path / name} {problem}. {self._repair}", *readers)
        else:
            what_next = "Restore it from a copy, or import the model again."
            self._beyond_repair(f"{self._path / name} {problem}. {what_next}", *readers)

    def _is_there(self, name: str) -> bool:
        """Return whether a file is in the folder, and not only named by its checksums."""
        return name in self._files and self._files[name].size is not None

    def _check_format(self) -> None:
        if FORMAT_FILE not in self._files:
            self._file_problem(FORMAT_FILE, "is missing")
            return
        try:
            backend = json.loads((self._path / FORMAT_FILE).read_text(encoding="utf-8"))["sharded_backend"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._file_problem(FORMAT_FILE, f"is damaged ({error})")
            return
        if backend != "torch_dist":
            self._beyond_repair(
                f"{self._path / FORMAT_FILE} says {backend!r}, and only torch_dist can be checked. "
                "Import the model again."
            )

    def _check_metadata(self) -> Metadata | None:
        if METADATA not in self._files:
            self._file_problem(METADATA, "is missing")
            return None
        try:
            metadata = read_metadata(self._path)
        except CorruptFileError as error:
            self._file_problem(METADATA, str(error).removeprefix(f"{METADATA} "))
            return None
        if lacking := metadata.not_stored():
            self._file_problem(METADATA, f"does not say where {', '.join(lacking[:3])} is stored")
        for name, size in metadata.sizes().items():
            if Path(name).name != name:
                self._file_problem(METADATA, f"names a file out of the folder, {name!r}")
                return None
            file = self._files.setdefault(name, File(name, None))
            file.expected = size
            if file.size is None:
                self._file_problem(name, "is missing")
            elif file.size != size:
                self._file_problem(name, f"has {file.size} bytes and should have {size}")
        return metadata

    def _check_bytes(self, metadata: Metadata | None) -> None:
        checksums = next((name for name in (INTEGRITY_FILE, SUMS_FILE) if name in self._files), None)
        if checksums is not None:
            digests_of = self._read_checksums(checksums, metadata)
            if digests_of is not None:
                self._compare_checksums(digests_of)
                return
        elif self._report.layout == "release":
            # Readers can do without, but not a user who asks whether a file is as it was written.
            self._report.problems.append(
                f"{self._path / INTEGRITY_FILE} is missing: damage may go unseen, and Megatron-LM's "
                f"--verify-integrity refuses the release. {self._repair}"
            )
        entries = [entry for entry in metadata.entries if self._files[entry.file].problem is None] if metadata else []
        total = sum(entry.length for entry in entries)
        with tqdm(desc="tensors", total=total, unit="B", unit_scale=True, disable=None, leave=False) as progress:
            for entry, damage in verify_entries(self._path, entries):
                progress.update(entry.length)
                if damage is not None:
                    self._file_problem(entry.file, f"is damaged in {entry.key} ({damage})")

    def _read_checksums(self, checksums: str, metadata: Metadata | None) -> dict[str, str] | None:
        try:
            digests_of = (read_manifest if checksums == INTEGRITY_FILE else read_sums)(self._path)
        except (ValueError, OSError) as error:
            self._file_problem(checksums, f"is damaged ({error})")
            return None
        if checksums == SUMS_FILE:
            self._report.notes.append(
                f"{self._path / SUMS_FILE} replaces {INTEGRITY_FILE}, which Megatron-LM's --verify-integrity "
                f"requires. {self._repair}"
            )
        own = {COMMON_STATE, *UPSTREAM_FILES, *ADDED_FILES}
        own |= metadata.sizes().keys() if metadata else set()
        foreign = []
        for name in sorted(self._files.keys() - digests_of.keys() - {checksums}):
            # The manifest that Megatron Core writes of a training's checkpoint names its own files alone.
            if self._report.layout != "training" and (name in own or name.startswith(f"{TOKENIZER}/")):
                self._file_problem(checksums, f"does not name {name}")
                return None
            foreign.append(name)
        if foreign and self._report.layout != "training":
            shown = ", ".join(foreign[:3]) + (f", ... ({len(foreign)} files)" if len(foreign) > 3 else "")
            self._report.notes.append(
                f"{self._path} holds files that {checksums} does not name, not the checkpoint's own: {shown}."
            )
        return digests_of

    def _compare_checksums(self, digests_of: dict[str, str]) -> None:
        there = sorted(filter(self._is_there, digests_of))
        for name in sorted(digests_of.keys() - set(there)):
            self._file_problem(name, "is missing")
        for name, digest in digests(self._path, there).items():
            if isinstance(digest, OSError):
                self._file_problem(name, f"cannot be read ({digest.strerror})")
            elif digest != digests_of[name]:
                self._file_problem(name, "has another checksum than when it was written")
            else:
                self._files[name].verified = True

    def _check_common_state(self, metadata: Metadata | None) -> None:
        report = self._report
        common: Any = None
        if self._is_there(COMMON_STATE):
            try:
                common = read_state(self._path)
            except CorruptFileError as error:
                self._file_problem(COMMON_STATE, str(error).removeprefix(f"{COMMON_STATE} "))
        else:
            report.stop(f"{COMMON_STATE} is missing, which it reads", OLDER_MEGATRON_LM)
            if report.layout == "release":
                self._file_problem(COMMON_STATE, "is missing", OLDER_MEGATRON_LM)
        if not isinstance(common, dict) and metadata is not None:
            try:
                common = read_common_entry(self._path, metadata)
            except CorruptFileError as error:
                self._beyond_repair(f"{self._path}: {error}. Restore it from a copy, or import the model again.")
        args: dict[str, Any] = {}
        if isinstance(common, dict) and isinstance(common.get("args"), Namespace):
            args = dict(vars(common["args"]))
        report.args = len(args) or None
        report.args_problem = find_args_problem(args, metadata)
        if report.layout == "training" and not args:
            report.notes.append("The checkpoint contains no args. Pass all flags of the model to Megatron-LM.")
        elif report.layout == "release" and report.args_problem is not None:
            text = f"{self._path}: {report.args_problem}. {self._repair}"
            report.add_problem(text, MEGATRON_LM, OLDER_MEGATRON_LM)
        if report.layout == "training" and report.args_problem is None:
            report.notes += self._describe_training(args, metadata)
        if is_factor_ignored(args.get("use_rope_scaling"), args.get("rope_scaling_factor")):
            report.notes.append(
                f"Megatron-LM ignores --rope-scaling-factor={args['rope_scaling_factor']} and builds the model with "
                f"{BUILT_IN_ROPE_SCALING_FACTOR:g}. Start its scripts with -m {ENTRY_POINT}, as launch prints it."
            )
        self._check_tokenizer_model(args.get("tokenizer_model"))

    def _describe_training(self, args: dict[str, Any], metadata: Metadata | None) -> list[str]:
        """Compare the args of a training with those of the release beside it, if it has any."""
        try:
            release = read_args(self._release)
        except CorruptFileError:
            return []
        return [] if find_args_problem(release, None) else describe_training(args, release, metadata)

    def _check_tokenizer_model(self, tokenizer: Any) -> None:
        if not isinstance(tokenizer, str):
            return
        here = Path(tokenizer).is_absolute() and Path(tokenizer).exists()
        # A relative path that ends otherwise cannot be told from a model ID.
        if here or not (Path(tokenizer).is_absolute() or tokenizer.endswith(f"{RELEASE}/{TOKENIZER}")):
            return
        what_next = "give --tokenizer-model"
        if self._report.layout == "release" and (self._path / TOKENIZER).is_dir():
            self._report.tokenizer_moved = True
            what_next = self._repair
        self._report.notes.append(f"args.tokenizer_model {tokenizer} is not there: {what_next}")

    def _check_bridge_files(self) -> None:
        self._check_run_config()
        if self._report.layout == "training":
            self._read_source_of_release()
            return
        self._check_train_state()
        self._check_tokenizer()
        if self._report.layout == "release":
            if not self._is_there(FLAGS_FILE):
                self._file_problem(FLAGS_FILE, "is missing", MEGATRON_LM)
            self._check_train_state_tracker()
            self._check_source()

    def _check_run_config(self) -> None:
        report = self._report
        if self._is_there(RUN_CONFIG):
            try:
                if not isinstance(read_run_config(self._path)["model"], dict):
                    raise ValueError("model is no mapping")
            except CorruptFileError as error:
                self._file_problem(
                    RUN_CONFIG, str(error).removeprefix(f"{self._path / RUN_CONFIG} "), BRIDGE, UPSTREAM
                )
            except (ValueError, KeyError, TypeError) as error:
                self._file_problem(RUN_CONFIG, f"is damaged ({type(error).__name__}: {error})", BRIDGE, UPSTREAM)
        elif report.layout != "training":
            self._file_problem(RUN_CONFIG, "is missing", BRIDGE, UPSTREAM)
        else:
            if not self._release.is_dir():
                report.stop(f"{RUN_CONFIG} is missing. {name_release(self._root.path)}", BRIDGE)
            elif not (self._release / RUN_CONFIG).exists():
                report.stop(f"{RUN_CONFIG} is missing, here and in {RELEASE}/", BRIDGE)
            report.stop(f"{RUN_CONFIG} is missing, which it reads", UPSTREAM)

    def _check_train_state(self) -> None:
        try:
            if not isinstance(read_state(self._path, TRAIN_STATE)["step"], int):
                raise ValueError("it has no step")
        except (ValueError, KeyError) as error:
            self._file_problem(TRAIN_STATE, f"is no train state ({error})", BRIDGE, UPSTREAM)

    def _check_tokenizer(self) -> None:
        names = [name for name in self._files if name.startswith(f"{TOKENIZER}/") and self._is_there(name)]
        for name in (name for name in names if name.endswith(".json")):
            try:
                json.loads((self._path / name).read_text(encoding="utf-8"))
            except (ValueError, RecursionError) as error:
                self._file_problem(name, f"is damaged ({error})", BRIDGE, UPSTREAM)
        if not names:
            self._report.notes.append(
                "The checkpoint contains no tokenizer. Pass --tokenizer-type and --tokenizer-model."
            )

    def _check_source(self) -> None:
        try:
            source = read_source(self._path)
        except CorruptFileError as error:
            self._file_problem(SOURCE_FILE, str(error).removeprefix(f"{SOURCE_FILE} "))
            return
        if source is not None:
            self._report.made_of = source.made_of
            self._report.notes += [f"Allowed at the import: {text}" for text in source.waived]
        else:
            advice = "" if source_from_run_config(self._path) is None else f" {self._repair}"
            self._report.notes.append(f"{self._path} does not record its source model.{advice}")

    def _read_source_of_release(self) -> None:
        """Report the source model of the release that a training started from."""
        try:
            source = read_source(self._root.path / RELEASE)
        except CorruptFileError:
            # A problem of the release, which this checkpoint does not need.
            return
        self._report.made_of = None if source is None else source.made_of

    def _check_train_state_tracker(self) -> None:
        tracker = self._root.path / TRAIN_STATE_TRACKER
        if not self._root.has_train_state:
            self._report.add_problem(f"{tracker} is missing. {self._repair}", BRIDGE)
        elif self._is_there(TRAIN_STATE) and tracker.read_bytes() != (self._path / TRAIN_STATE).read_bytes():
            self._report.add_problem(f"{tracker} differs from {RELEASE}/{TRAIN_STATE}. {self._repair}", BRIDGE)
