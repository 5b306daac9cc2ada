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

"""Ranks share results and errors; of several ranks, the functional tests tell."""

from collections.abc import Iterator

import pytest
import torch.distributed as dist

from megatron.bridge.training.utils.all_ranks import gather, on_rank_0, sendable, together


class _NotForPickle(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


class _Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    def __reduce__(self):
        raise TypeError("not for pickle")


@pytest.fixture(params=["no process group", "a group of one"], autouse=True)
def group(request) -> Iterator[None]:
    if request.param == "no process group":
        yield
        return
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("run", [on_rank_0, together])
def test_a_result_or_an_error_is_handed_on(run):
    assert run(lambda: 3) == 3
    assert run(lambda: None) is None
    with pytest.raises(KeyError, match="missing"):
        run(lambda: {}["missing"])


def test_what_each_rank_gives_is_listed():
    assert gather("mine") == ["mine"]


def test_an_error_that_cannot_be_sent_is_told_by_its_text():
    kept, told = OSError(28, "No space left on device"), sendable(_NotForPickle("not", "so"))
    assert sendable(kept) is kept
    assert type(told) is RuntimeError and str(told) == "_NotForPickle: not so"
    assert str(sendable(_Speechless())) == "_Speechless"
