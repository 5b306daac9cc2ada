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

"""Messages that name an option spell it as the caller does, and nothing else in them is rewritten."""

import pickle

import pytest

from megatron.bridge.release import __main__
from megatron.bridge.release.errors import join_sentences
from megatron.bridge.release.option_errors import OptionError


@pytest.mark.parametrize(
    ("option", "python", "shell"),
    [
        ("overwrite", "overwrite=True", "--overwrite"),
        ("trust_remote_code", "trust_remote_code=True", "--trust-remote-code"),
        ("allow_unused_tensors", "allow_unused_tensors", "--allow-unused-tensors"),
    ],
)
def test_an_option_is_spelled_as_python_and_the_shell_do(option, python, shell):
    error = OptionError("The problem {in braces}.", option, "Pass {option}.")
    for sent in (error, pickle.loads(pickle.dumps(error))):
        assert str(sent) == f"The problem {{in braces}}. Pass {python}."
        assert sent.in_shell() == f"The problem {{in braces}}. Pass {shell}."
        assert sent.option == option and isinstance(sent, ValueError)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("/models/allow_config_fields/overwrite=True is no model"),) * 2,
        (RuntimeError("a library's own overwrite=True"),) * 2,
        (OptionError("/data/overwrite=True is full.", "overwrite", "Pass {option}."), None),
    ],
)
def test_the_command_rewrites_neither_paths_nor_what_libraries_say(error, expected, monkeypatch, capsys):
    class Parser:
        def parse_known_args(self, arguments):
            return self, []

        json = verbose = False

        def run(self, options):
            raise error

    monkeypatch.setattr(__main__, "make_parser", Parser)
    assert __main__.main([]) == 1
    expected = expected or "/data/overwrite=True is full. Pass --overwrite."
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
def test_sentences_are_joined_with_one_full_stop(texts, expected):
    assert join_sentences(*texts) == expected
