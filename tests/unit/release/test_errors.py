# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors and warnings: their texts, their form for the shell, and what libraries raise in one line."""

import pickle

import message_texts
import pytest

from megatron.bridge.release import __main__
from megatron.bridge.release.errors import (
    Message,
    is_out_of_memory,
    join_sentences,
    one_line,
    python_option,
    shell_option,
)


def test_texts_are_those_of_the_snapshot():
    assert message_texts.texts() == message_texts.FILE.read_text(), "run python tests/support/message_texts.py"


@pytest.mark.parametrize("cls", message_texts.classes(), ids=lambda cls: cls.__qualname__)
def test_message_is_single_line_and_picklable(cls):
    for message in message_texts.examples(cls):
        if isinstance(message, Exception):
            message.add_note("A note.")
        sent = pickle.loads(pickle.dumps(message))
        assert type(sent) is cls
        assert str(vars(sent)) == str(vars(message))
        assert str(sent) == message.text(python_option)
        assert "\n" not in str(sent)


@pytest.mark.parametrize(
    ("option", "python", "shell"),
    [
        ("overwrite", "overwrite=True", "--overwrite"),
        ("trust_remote_code", "trust_remote_code=True", "--trust-remote-code"),
        ("allow_unused_tensors", "allow_unused_tensors", "--allow-unused-tensors"),
    ],
)
def test_option_is_formatted_for_python_and_for_the_shell(option, python, shell):
    assert python_option(option) == python
    assert shell_option(option) == shell


class _OptionError(Message, ValueError):
    def text(self, option):
        return f"/data/overwrite=True is full. Pass {option('overwrite')}."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("/models/allow_config_fields/overwrite=True is no model"),) * 2,
        (RuntimeError("a library's own overwrite=True"),) * 2,
        (_OptionError(), "/data/overwrite=True is full. Pass --overwrite."),
    ],
)
def test_command_formats_options_but_not_paths_or_foreign_texts(error, expected, monkeypatch, capsys):
    class Parser:
        def parse_known_args(self, arguments):
            return self, []

        json = verbose = False

        def run(self, options):
            raise error

    monkeypatch.setattr(__main__, "make_parser", Parser)
    assert __main__.main([]) == 1
    assert capsys.readouterr().err == f"error: {expected}\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["One"], "One"),
        (["One.", "Two."], "One. Two."),
        (["One", "Two."], "One. Two."),
        (["One!", "Two", "Three"], "One! Two. Three"),
    ],
)
def test_join_sentences_adds_missing_full_stops(texts, expected):
    assert join_sentences(*texts) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a\n  b\tc "), "ValueError: a b c"),
        (KeyError("name"), "KeyError: 'name'"),
        (RuntimeError(), "RuntimeError: no message"),
        (RuntimeError(" \n"), "RuntimeError: no message"),
    ],
)
def test_single_line_error_starts_with_type(error, expected):
    assert one_line(error) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("you tried to allocate memory: 5 bytes"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("you tried to allocate memory"), False),
    ],
)
def test_out_of_memory_is_recognized_by_type_or_torchs_text(error, expected):
    assert is_out_of_memory(error) == expected
