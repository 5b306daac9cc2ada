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

"""Roots as upstream and people's hooks leave them, each made of upstream's import."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
from megatron.core.dist_checkpointing.serialization import load_common_state_dict

from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER


def _few_args(root: Path, folder: str) -> None:
    """What hooks put into ``common.pt``."""
    common = load_common_state_dict(str(root / folder))
    fields = dict(num_layers=2, hidden_size=64, num_attention_heads=4, max_position_embeddings=2048)
    parallel = dict(tensor_model_parallel_size=1, pipeline_model_parallel_size=1, world_size=1)
    torch.save({**common, "args": Namespace(**fields, **parallel)}, root / folder / "common.pt")


def tracker_release(root: Path) -> None:
    """Let the tracker say ``release``, and leave the rest, as hooks do."""
    (root / TRACKER).write_text("release")


def _renamed(root: Path) -> None:
    (root / "iter_0000000").rename(root / "release")


def _nested(root: Path) -> None:
    (root / "release").mkdir()
    (root / "iter_0000000").rename(root / "release" / "iter_0000001")
    tracker_release(root)


def _nested_in_itself(root: Path) -> None:
    _renamed(root)
    (root / "iter_0000000").mkdir()
    (root / "release").rename(root / "iter_0000000" / "release")


def _seven_args(root: Path) -> None:
    _renamed(root)
    tracker_release(root)
    _few_args(root, "release")


def _common_pt_of_an_older_core(root: Path) -> None:
    torch.save(load_common_state_dict(str(root / "iter_0000000")), root / "iter_0000000" / "common.pt")


def _linked(root: Path) -> None:
    (root / "release").symlink_to("iter_0000000")
    tracker_release(root)


def _torn(root: Path) -> None:
    (root / TRACKER).write_text("relea")


def _bridge_before_0_2(root: Path) -> None:
    (root / TRACKER).unlink()


def _no_train_state(root: Path) -> None:
    (root / TRAIN_STATE_TRACKER).unlink()
    (root / "iter_0000000" / "train_state.pt").unlink()


STATES: dict[str, Callable[[Path], None]] = {
    "upstream's import": lambda root: None,
    "tracker release, iter_0000000": tracker_release,
    "release/, tracker 0": _renamed,
    "release/iter_0000001": _nested,
    "iter_0000000/release": _nested_in_itself,
    "args of seven fields": _seven_args,
    "common.pt": _common_pt_of_an_older_core,
    "a link": _linked,
    "a torn tracker": _torn,
    "no text tracker": _bridge_before_0_2,
    "no train state": _no_train_state,
}
