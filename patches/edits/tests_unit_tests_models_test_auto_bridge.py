# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's tests/unit_tests/models/test_auto_bridge.py."""

from collections.abc import Iterator

from patches.edit import Edit
from patches.operations import PassArgument


TARGET = "tests/unit_tests/models/test_auto_bridge.py"

_SAVE = "mock_save_megatron_model.assert_called_once_with"
_IMPORT = "mock_bridge.save_megatron_model.assert_called_once_with"
_SAVE_TESTS = ("test_save_megatron_model_basic", "test_save_megatron_model_with_tokenizer")
_IMPORT_TESTS = ("test_import_ckpt_basic", "test_import_ckpt_with_kwargs")
_IMPORT_TESTS_OF_MAIN = ("test_import_ckpt_with_low_memory_save",)


def _expect(what: str, *arguments: str, imports: bool = True, saves: bool = True) -> Iterator[Edit]:
    """Let the tests that name every keyword of a call name those, too."""
    for tests, call, versions, wanted in (
        (_IMPORT_TESTS, _IMPORT, "", imports),
        (_IMPORT_TESTS_OF_MAIN, _IMPORT, ">=0.7", imports),
        (_SAVE_TESTS, _SAVE, "", saves),
    ):
        for test in tests if wanted else ():
            yield Edit(
                name=f"{what}-{test.removeprefix('test_').replace('_', '-')}",
                symbol=f"TestAutoBridge.{test}",
                why="It names every keyword of the call, which has another one now.",
                drop_when="upstream's test names it, or less.",
                do=tuple(PassArgument(call, argument) for argument in arguments),
                versions=versions,
            )


EDITS = (
    *_expect("release", "release=False"),
    *_expect("overwrite", "overwrite=False"),
    *_expect("allow", "allow_unused_tensors=()", "allow_config_fields=()", saves=False),
    *_expect("let-through", "waived=()", imports=False),
    *_expect("source-model", "source_model=None", imports=False),
)
