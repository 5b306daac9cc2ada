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

"""A tokenizer is what transformers makes of a model's files, and a release says so where that is not what they say."""

import warnings
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2Tokenizer

from megatron.bridge.release.errors import ReleaseWarning
from megatron.bridge.release.validation.errors import TokenizerClassWarning, TokenizerError, TokenizerSizeError
from megatron.bridge.release.validation.tokenizer import check_tokenizer


END = "<|endoftext|>"
LETTERS = {letter: at for at, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {END: 256}
# Two digits are one token where digits are not set apart.
WORDS, MERGES = LETTERS | {"12": 257}, [("1", "2")]


def _write(folder: Path, config: PretrainedConfig, tokenizer: PreTrainedTokenizerFast | None) -> PretrainedConfig:
    config.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return config


def _generic() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(WORDS, MERGES))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def test_tokenizer_class_with_different_tokens_is_reported(tmp_path):
    config = _write(tmp_path, Qwen2Config(vocab_size=258), _generic())
    with pytest.warns(TokenizerClassWarning) as caught:
        check_tokenizer(tmp_path, {}, config)
    (warning,) = [each.message for each in caught if isinstance(each.message, TokenizerClassWarning)]
    assert (warning.path, warning.kind) == (str(tmp_path), "Qwen2Tokenizer")


def test_cached_hub_tokenizer_is_compared_with_file(tmp_path):
    repository = tmp_path / "models--organization--model"
    revision = "0" * 40
    config = _write(repository / "snapshots" / revision, Qwen2Config(vocab_size=258), _generic())
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(revision)
    keywords = {"cache_dir": tmp_path, "local_files_only": True}
    with pytest.warns(TokenizerClassWarning) as caught:
        check_tokenizer("organization/model", keywords, config)
    (warning,) = [each.message for each in caught if isinstance(each.message, TokenizerClassWarning)]
    assert (warning.path, warning.kind) == ("organization/model", "Qwen2Tokenizer")
    config.vocab_size = 257
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReleaseWarning)
        with pytest.raises(TokenizerSizeError) as raised:
            check_tokenizer("organization/model", keywords, config)
    assert (raised.value.path, raised.value.largest, raised.value.rows) == ("organization/model", 257, 257)


@pytest.mark.parametrize(
    ("config", "make"),
    [
        (LlamaConfig(vocab_size=258), _generic),
        (Qwen2Config(vocab_size=258), lambda: Qwen2Tokenizer(vocab=WORDS, merges=MERGES)),
    ],
    ids=["the file's class", "the family's class"],
)
def test_matching_tokenizer_class_raises_no_warning(tmp_path, config, make):
    _write(tmp_path, config, make())
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReleaseWarning)
        check_tokenizer(tmp_path, {}, config)


def test_tokenizer_with_only_special_tokens_is_refused(tmp_path):
    config = _write(tmp_path, Qwen2Config(), None)
    with pytest.raises(TokenizerError) as raised:
        check_tokenizer(tmp_path, {}, config)
    assert raised.value.reason == "Qwen2Tokenizer has only special tokens"


def test_tokenizer_with_only_added_tokens_is_accepted(tmp_path):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), eos_token=END)
    tokenizer.add_tokens(["A", "C", "G", "T"])
    check_tokenizer(tmp_path, {}, _write(tmp_path, LlamaConfig(vocab_size=5), tokenizer))
