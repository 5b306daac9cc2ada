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

from argparse import Namespace

import pytest

from megatron.bridge.release.export.config import exported_vocab_size
from megatron.bridge.release.megatron_args.comparison import ArgsError
from megatron.bridge.release.rope_factor import BUILT_FACTOR
from megatron.bridge.release.verify.args import EMBEDDING, NEEDED_ARGS, describe_training, find_args_problem
from megatron.bridge.release.verify.dcp_metadata import Metadata, Tensor
from megatron.bridge.release.verify.errors import ArgsShapeMismatch, ArgsTyingMismatch, MissingArgs, NonIntegerArg
from megatron.bridge.release.verify.findings import FailedStep, UnrecordedRopeFactor


OUTPUT = "output_layer.weight"
PROJECTION = "decoder.layers.self_attention.linear_proj.weight"
FFN = "decoder.layers.mlp.linear_fc2.weight"


def _metadata(shapes: dict[str, tuple[int, ...]]) -> Metadata:
    return Metadata({key: Tensor(shape, ()) for key, shape in shapes.items()}, (), ())


def test_matching_args_have_no_problem(args, shapes):
    assert find_args_problem(args, _metadata(shapes)) is None
    assert find_args_problem(args | {"of another version": 1}, _metadata(shapes)) is None
    assert find_args_problem(args, None) is None


@pytest.mark.parametrize("name", NEEDED_ARGS)
def test_missing_arg_is_named(args, shapes, name):
    args = {other: value for other, value in args.items() if other != name}
    for metadata in (_metadata(shapes), None):
        assert find_args_problem(args, metadata) == MissingArgs((name,))


@pytest.mark.parametrize("count", [3, 4, len(NEEDED_ARGS)])
def test_all_missing_args_are_named(args, count):
    args = {name: args[name] for name in NEEDED_ARGS[count:]}
    assert find_args_problem(args, None) == MissingArgs(NEEDED_ARGS[:count])


@pytest.mark.parametrize(
    ("name", "tensor", "axis"),
    [
        ("num_layers", PROJECTION, 0),
        ("hidden_size", EMBEDDING, 1),
        ("ffn_hidden_size", FFN, 2),
        ("padded_vocab_size", EMBEDDING, 0),
    ],
)
@pytest.mark.parametrize("by", [-1, 1])
def test_args_size_off_by_one_is_shape_mismatch(args, shapes, name, tensor, axis, by):
    expected = [*shapes[tensor]]
    expected[axis] += by
    problem = find_args_problem(args | {name: args[name] + by}, _metadata(shapes))
    assert problem == ArgsShapeMismatch(tensor, shapes[tensor], tuple(expected))


@pytest.mark.parametrize(("name", "width"), [("num_attention_heads", 9), ("kv_channels", 8)])
def test_heads_are_compared_by_their_total_width(args, shapes, name, width):
    problem = find_args_problem(args | {name: args[name] + 1}, _metadata(shapes))
    assert problem == ArgsShapeMismatch(PROJECTION, (2, 4, 6), (2, 4, width))
    assert find_args_problem(args | {"num_attention_heads": 3, "kv_channels": 2}, _metadata(shapes)) is None


@pytest.mark.parametrize("value", [None, "2", 2.0, True])
@pytest.mark.parametrize("name", ["num_layers", "hidden_size", "kv_channels", "padded_vocab_size"])
def test_size_must_be_an_integer(args, shapes, name, value):
    for metadata in (_metadata(shapes), None):
        problem = find_args_problem(args | {name: value}, metadata)
        assert (type(problem), problem.name, problem.value) == (NonIntegerArg, name, value)


def test_latent_attention_uses_v_head_dim(args, shapes):
    args |= {"multi_latent_attention": True, "kv_channels": None, "v_head_dim": None}
    assert find_args_problem(args, _metadata(shapes)) == NonIntegerArg("v_head_dim", None)
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
def test_padding_rows_need_not_be_stored(args, shapes, rows, words, padded, fits):
    shapes = shapes | {EMBEDDING: (rows, 4), OUTPUT: (rows, 4)}
    problem = find_args_problem(args | {"vocab_size": words, "padded_vocab_size": padded}, _metadata(shapes))
    assert problem == (None if fits else ArgsShapeMismatch(EMBEDDING, (rows, 4), (padded, 4)))


def test_output_layer_shape_is_compared(args, shapes):
    problem = find_args_problem(args, _metadata(shapes | {OUTPUT: (8, 5)}))
    assert problem == ArgsShapeMismatch(OUTPUT, (8, 5), (8, 4))


@pytest.mark.parametrize("untied", [True, False])
def test_output_layer_exists_only_when_untied(args, shapes, untied):
    args |= {"untie_embeddings_and_output_weights": untied}
    tied = _metadata({key: shape for key, shape in shapes.items() if key != OUTPUT})
    right, wrong = (_metadata(shapes), tied) if untied else (tied, _metadata(shapes))
    assert find_args_problem(args, right) is None
    assert find_args_problem(args, wrong) == ArgsTyingMismatch(untied)


SCALED = {"use_rope_scaling": True, "rope_scaling_factor": 32.0}


@pytest.mark.parametrize(
    ("trained", "release", "expected"),
    [
        ({}, {}, []),
        ({"attention_dropout": 0.1, "seq_length": 9}, {}, []),
        ({"rotary_base": 7}, {"rotary_base": 10000}, [{"rotary_base": (7, 10000)}]),
        ({"max_position_embeddings": 7}, {"max_position_embeddings": 9}, [{"max_position_embeddings": (7, 9)}]),
        (SCALED | {BUILT_FACTOR: 32.0}, SCALED, []),
        (SCALED | {BUILT_FACTOR: 8.0}, SCALED, [{"rope_scaling_factor": (8.0, 32.0)}]),
        (SCALED, SCALED, [32.0]),
        (SCALED | {"rotary_base": 7}, SCALED, [32.0, {"rotary_base": (7, 10000)}]),
    ],
)
def test_changes_of_a_training_are_notes(args, shapes, trained, release, expected):
    notes = describe_training(args | trained, args | release, _metadata(shapes))
    assert [note.factor if isinstance(note, UnrecordedRopeFactor) else note.differences for note in notes] == expected


def test_missing_argument_of_the_computation_is_a_note(args, shapes):
    del args["layernorm_epsilon"]
    (note,) = describe_training(args, args, _metadata(shapes))
    assert (type(note), type(note.error)) == (FailedStep, ArgsError)
    assert [*note.error.names] == ["layernorm_epsilon"]


@pytest.mark.parametrize(("trained", "rows"), [({}, 200), ({"vocab_size": 9}, 8)])
def test_vocabulary_that_an_export_refuses_is_a_note(args, shapes, trained, rows):
    (note,) = describe_training(args | trained, args, _metadata(shapes | {EMBEDDING: (rows, 4)}))
    assert type(note) is FailedStep
    with pytest.raises(ValueError) as raised:
        exported_vocab_size(Namespace(**args | trained), args, rows)
    assert str(note.error) == str(raised.value)
