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

"""Megatron-LM's args are compared with the shapes of the tensors."""

import pytest

from megatron.bridge.release.rope_factor import BUILT_FACTOR
from megatron.bridge.release.verify.args import EMBEDDING, NEEDED_ARGS, describe_training, find_args_problem
from megatron.bridge.release.verify.dcp_metadata import Metadata, Tensor


OUTPUT = "output_layer.weight"
PROJECTION = "decoder.layers.self_attention.linear_proj.weight"
FFN = "decoder.layers.mlp.linear_fc2.weight"


def _metadata(shapes: dict[str, tuple[int, ...]]) -> Metadata:
    return Metadata({key: Tensor(shape, ()) for key, shape in shapes.items()}, (), ())


def test_args_that_fit_have_no_problem(args, shapes):
    assert find_args_problem(args, _metadata(shapes)) is None
    assert find_args_problem(args | {"of another version": 1}, _metadata(shapes)) is None
    assert find_args_problem(args, None) is None


@pytest.mark.parametrize("name", NEEDED_ARGS)
def test_an_arg_too_few_is_named(args, shapes, name):
    args = {other: value for other, value in args.items() if other != name}
    for metadata in (_metadata(shapes), None):
        assert find_args_problem(args, metadata) == f"args that Megatron-LM needs are missing: {name}"


@pytest.mark.parametrize(
    ("lacking", "more"), [(3, ""), (4, " and 1 more"), (len(NEEDED_ARGS), f" and {len(NEEDED_ARGS) - 3} more")]
)
def test_of_many_that_are_missing_three_are_named_and_the_others_counted(args, lacking, more):
    args = {name: args[name] for name in NEEDED_ARGS[lacking:]}
    named = "num_layers, hidden_size, ffn_hidden_size"
    assert find_args_problem(args, None) == f"args that Megatron-LM needs are missing: {named}{more}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("num_layers", f"{PROJECTION} is 2 by 4 by 6, and args say {{}} by 4 by 6"),
        ("hidden_size", f"{EMBEDDING} is 8 by 4, and args say 8 by {{}}"),
        ("ffn_hidden_size", f"{FFN} is 2 by 4 by 5, and args say 2 by 4 by {{}}"),
        ("padded_vocab_size", f"{EMBEDDING} is 8 by 4, and args say {{}} by 4"),
    ],
)
@pytest.mark.parametrize("by", [-1, 1])
def test_a_size_that_is_one_off_is_told_with_both_shapes(args, shapes, name, told, by):
    assert find_args_problem(args | {name: args[name] + by}, _metadata(shapes)) == told.format(args[name] + by)


@pytest.mark.parametrize(("name", "width"), [("num_attention_heads", 9), ("kv_channels", 8)])
def test_heads_count_by_their_product_with_the_channels(args, shapes, name, width):
    problem = find_args_problem(args | {name: args[name] + 1}, _metadata(shapes))
    assert problem == f"{PROJECTION} is 2 by 4 by 6, and args say 2 by 4 by {width}"
    assert find_args_problem(args | {"num_attention_heads": 3, "kv_channels": 2}, _metadata(shapes)) is None


@pytest.mark.parametrize("value", [None, "2", 2.0, True])
@pytest.mark.parametrize("name", ["num_layers", "hidden_size", "kv_channels", "padded_vocab_size"])
def test_a_size_that_is_no_number_is_told_with_or_without_tensors(args, shapes, name, value):
    for metadata in (_metadata(shapes), None):
        assert find_args_problem(args | {name: value}, metadata) == f"args.{name} is {value!r}, no number"


def test_latent_attention_has_its_channels_under_another_name(args, shapes):
    args |= {"multi_latent_attention": True, "kv_channels": None, "v_head_dim": None}
    assert find_args_problem(args, _metadata(shapes)) == "args.v_head_dim is None, no number"
    assert find_args_problem(args | {"v_head_dim": 3}, _metadata(shapes)) is None


@pytest.mark.parametrize(
    ("rows", "words", "padded", "fits"),
    [
        (5, 5, 8, True),
        (7, 5, 8, True),
        (8, 5, 8, True),
        (4, 5, 8, False),
        (9, 5, 8, False),
        (5, 5, 9, False),
        (5, 5, 16, False),
        (5, None, 8, False),
    ],
)
def test_rows_of_the_padding_need_not_be_stored_and_those_of_words_must_be(args, shapes, rows, words, padded, fits):
    shapes = shapes | {EMBEDDING: (rows, 4), OUTPUT: (rows, 4)}
    problem = find_args_problem(args | {"vocab_size": words, "padded_vocab_size": padded}, _metadata(shapes))
    assert problem == (None if fits else f"{EMBEDDING} is {rows} by 4, and args say {padded} by 4")


def test_an_output_layer_that_is_another_shape_than_the_embedding_is_told(args, shapes):
    problem = find_args_problem(args, _metadata(shapes | {OUTPUT: (8, 5)}))
    assert problem == f"{OUTPUT} is 8 by 5, and args say 8 by 4"


@pytest.mark.parametrize("untied", [True, False])
def test_an_output_layer_is_there_where_it_is_not_tied_and_there_alone(args, shapes, untied):
    args |= {"untie_embeddings_and_output_weights": untied}
    tied = _metadata({key: shape for key, shape in shapes.items() if key != OUTPUT})
    right, wrong = (_metadata(shapes), tied) if untied else (tied, _metadata(shapes))
    assert find_args_problem(args, right) is None
    assert find_args_problem(args, wrong) == (
        f"args.untie_embeddings_and_output_weights is {untied}, and the tensors say otherwise"
    )


SCALED = {"use_rope_scaling": True, "rope_scaling_factor": 32.0}


@pytest.mark.parametrize(
    ("trained", "release", "told"),
    [
        ({}, {}, []),
        ({"attention_dropout": 0.1, "seq_length": 9}, {}, []),
        ({"rotary_base": 7}, {"rotary_base": 10000}, ["rotary_base=7 (release: 10000)"]),
        ({"max_position_embeddings": 7}, {"max_position_embeddings": 9}, ["max_position_embeddings=7 (release: 9)"]),
        (SCALED | {BUILT_FACTOR: 32.0}, SCALED, []),
        (SCALED | {BUILT_FACTOR: 8.0}, SCALED, ["rope_scaling_factor=8.0 (release: 32.0)"]),
        (SCALED, SCALED, ["do not record which factor"]),
        (SCALED | {"rotary_base": 7}, SCALED, ["do not record which factor", "rotary_base=7 (release: 10000)"]),
        ({"vocab_size": 9}, {}, ["Vocabulary size mismatch"]),
    ],
)
def test_what_was_trained_otherwise_than_the_release_is_named(args, shapes, trained, release, told):
    notes = describe_training(args | trained, args | release, _metadata(shapes))
    assert len(notes) == len(told)
    assert all(text in note for text, note in zip(told, notes))


def test_an_argument_that_decides_the_computation_and_is_missing_is_named(args, shapes):
    del args["layernorm_epsilon"]
    (note,) = describe_training(args, args, _metadata(shapes))
    assert note.startswith("An export is refused. The checkpoint's args lack layernorm_epsilon, ")


def test_a_vocabulary_that_grew_is_named(args, shapes):
    (note,) = describe_training(args, args, _metadata(shapes | {EMBEDDING: (200, 4)}))
    assert "200 rows" in note
