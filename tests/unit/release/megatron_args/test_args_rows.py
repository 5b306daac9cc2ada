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

"""Every row of the args table, at other values than the default, through Megatron-LM's own parser."""

import types
import typing
from dataclasses import fields
from typing import Any

import pytest
import torch.nn.functional as F
from args_models import SIZES, gpt_model, no_flag, options, parser
from megatron.core.activations import squared_relu
from megatron.core.fusions.fused_bias_geglu import quick_gelu

from megatron.bridge.models.hybrid.hybrid_provider import HybridModelProvider
from megatron.bridge.models.mla_provider import MLAModelProvider
from megatron.bridge.release.megatron_args.args import megatron_lm_args
from megatron.bridge.release.megatron_args.flag_format import megatron_lm_flags
from megatron.bridge.release.megatron_args.flag_table import (
    ARGUMENTS,
    Argument,
    tables_of,
)
from megatron.bridge.release.rope_factor import ENTRY_POINT_FLAG


# What the arguments are called whose field has another name.
RENAMED = {
    "max_position_embeddings": "seq_length",
    "num_experts": "num_moe_experts",
    "rotary_seq_len_interpolation_factor": "seq_len_interpolation_factor",
    "use_rope_scaling": "rope_scaling",
}
RENAMED_FOR_YARN = {
    "mscale": "yarn_mscale",
    "mscale_all_dim": "yarn_mscale_all_dim",
    "rotary_scaling_factor": "yarn_rotary_scaling_factor",
}

# Arguments that are not a field's value as it is: values of fields, and the argument that they make.
CONVERTED: dict[str, list[tuple[dict[str, Any], Any]]] = {
    "add_qkv_bias": [
        ({"add_qkv_bias": of_qkv, "add_bias_linear": of_all}, of_qkv or of_all)
        for of_qkv in (True, False)
        for of_all in (True, False)
    ],
    "group_query_attention": [
        ({"num_query_groups": None}, False),
        ({"num_query_groups": 2}, True),
        ({"num_query_groups": 4, "multi_latent_attention": True}, False),
    ],
    "is_hybrid_model": [({"is_hybrid_model": False}, True), ({"is_hybrid_model": True}, True)],
    "make_vocab_size_divisible_by": [
        ({"make_vocab_size_divisible_by": multiple}, expected)
        for multiple, expected in ((1, 128), (96, 384), (129, 16512), (256, 256))
    ],
    "num_query_groups": [
        ({"num_query_groups": 2}, 2),
        ({"num_query_groups": None}, 1),
        ({"num_query_groups": 4, "multi_latent_attention": True}, 1),
    ],
    "padded_vocab_size": [
        ({"vocab_size": size, "make_vocab_size_divisible_by": multiple}, expected)
        for size, multiple, expected in ((1000, 1, 1024), (1024, 1, 1024), (1025, 96, 1152))
    ],
    "quick_geglu": [
        ({"activation_func": function, "gated_linear_unit": gated}, function is quick_gelu and gated)
        for function in (quick_gelu, F.silu, F.gelu)
        for gated in (True, False)
    ],
    "rotary_base": [({"rotary_base": 500000.0}, 500000), ({"rotary_base": 1234}, 1234)],
    "rotary_seq_len_interpolation_factor": [({"seq_len_interpolation_factor": 4.0}, 4)],
    "squared_relu": [
        ({"activation_func": function, "gated_linear_unit": gated}, function is squared_relu and not gated)
        for function in (squared_relu, F.silu, F.relu)
        for gated in (True, False)
    ],
    "swiglu": [
        ({"activation_func": function, "gated_linear_unit": gated}, function is F.silu and gated)
        for function in (F.silu, quick_gelu, squared_relu)
        for gated in (True, False)
    ],
    "untie_embeddings_and_output_weights": [
        ({"share_embeddings_and_output_weights": shared}, not shared) for shared in (True, False)
    ],
    "window_size": [({"window_size": [63, 0]}, (63, 0)), ({"window_size": (31, 1)}, (31, 1))],
    # Megatron-LM's parser has True where it is not told, and the table None.
    "yarn_correction_range_round_to_int": [({"yarn_correction_range_round_to_int": False}, False)],
}

# Values of the fields whose type tells none, or none that may stand alone.
VALUES: dict[str, list[Any]] = {
    "hybrid_layer_pattern": ["M*-M"],
    "linear_attention_freq": [[1, 1, 0], 3],
    "moe_aux_loss_coeff": [[0.03, 0.04], 0.05],
    "moe_layer_freq": [[0, *[1] * 26], 3],
    "moe_router_load_balancing_type": [["seq_aux_loss", "sinkhorn"], "sinkhorn"],
    "mrope_section": [[8, 12, 12]],
    "no_rope_freq": [[0, 1, 1], 5],
    "normalization": ["RMSNorm", "LayerNorm"],
    # As "rope" alone does, it asks for no other table.
    "position_embedding_type": ["rope", "none"],
    "rope_type": ["rope", "yarn"],
    "window_attn_skip_freq": [[1, 0, 0], 7],
}

# They say how the run was laid out that wrote a checkpoint, which loads at any other layout: no flag gives them.
LAYOUT = {
    "context_parallel_size",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "pipeline_model_parallel_size",
    "tensor_model_parallel_size",
    "virtual_pipeline_model_parallel_size",
}

# One model for each table that not every model asks for.
ASKING = {
    "gpt": gpt_model,
    "rope scaling": lambda: gpt_model(rope_scaling=True),
    "experts": lambda: gpt_model(num_moe_experts=8),
    "latent attention": lambda: gpt_model(MLAModelProvider, multi_latent_attention=True),
    "yarn": lambda: gpt_model(position_embedding_type="yarn"),
    "hybrid": lambda: HybridModelProvider(hybrid_layer_pattern="M*", **SIZES),
}


def _asking(argument: Argument) -> str:
    """Name the first model whose tables have a row; "" where none has it."""
    tables = {name: tables_of(make()) for name, make in ASKING.items()}
    return next((name for name in tables if any(argument in table for table in tables[name])), "")


def _values(name: str, annotation: Any, number: int) -> list[Any]:
    """Give values of a field, of its type and unlike those of other fields; both of a bool."""
    if name in VALUES:
        return VALUES[name]
    (kind,) = [each for each in typing.get_args(annotation) if each is not types.NoneType][:1] or [annotation]
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    if typing.get_origin(kind) is typing.Literal:
        return list(typing.get_args(kind))
    return {bool: [True, False], int: [3000 + number], float: [0.25 + number]}[kind]


ROWS = {
    f"{argument.name}{' of yarn' * (_asking(argument) == 'yarn')}": (number, argument)
    for number, argument in enumerate(ARGUMENTS)
}


@pytest.mark.parametrize("row", ROWS)
def test_argument_and_flag_have_the_value_of_the_field(row):
    number, argument = ROWS[row]
    name, asking = argument.name, _asking(argument)
    assert asking, f"no model of ASKING asks for the table of {argument}"
    field = (RENAMED_FOR_YARN if asking == "yarn" else RENAMED).get(name, name)
    cases = CONVERTED.get(name)
    if cases is None:
        annotations = {each.name: each.type for each in fields(ASKING[asking]())}
        assert field in annotations, f"no provider has {field}, and RENAMED and CONVERTED do not tell of {name}"
        annotation = annotations[field]
        cases = [({field: value}, value) for value in _values(field, annotation, number)]
    assert any(expected != argument.default for _, expected in cases)
    for values, expected in cases:
        model = ASKING[asking]()
        vars(model).update(values)
        args = megatron_lm_args(model)
        assert (getattr(args, name), type(getattr(args, name))) == (expected, type(expected)), values
        if argument.flag is None:
            assert name in LAYOUT
            continue
        assert argument.flag in options(), no_flag(argument)
        flags = [flag for flag in megatron_lm_flags(args) if flag != ENTRY_POINT_FLAG]
        found = getattr(parser().parse_args(flags), name)
        if isinstance(found, list) and not isinstance(expected, list):
            # Megatron-LM makes one value of it when it validates its arguments.
            (found,) = found
        assert found == expected, values
