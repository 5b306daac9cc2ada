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

"""Args of checkpoints are compared by what Megatron-LM computes, whatever version wrote them."""

from argparse import Namespace
from typing import Any

import pytest

from megatron.bridge.release.megatron_args.comparison import (
    applied_rope_scaling_factor,
    check_args,
    describe_differences,
    differing_arguments,
)
from megatron.bridge.release.megatron_args.errors import ArgsError, UnknownRopeFactorError
from megatron.bridge.release.megatron_args.flag_table import ARGUMENTS, LATER_ARGUMENTS
from megatron.bridge.release.rope_factor import BUILT_FACTOR


DENSE = {argument.name: argument.default for argument in ARGUMENTS} | {
    "num_layers": 4,
    "hidden_size": 64,
    "ffn_hidden_size": 96,
    "num_attention_heads": 4,
    "group_query_attention": True,
    "num_query_groups": 2,
    "kv_channels": 16,
    "position_embedding_type": "rope",
    "normalization": "RMSNorm",
    "layernorm_epsilon": 1e-5,
    "swiglu": True,
}
EXPERTS = DENSE | {
    "num_experts": 4,
    "moe_layer_freq": [1, 0, 1, 0],
    "moe_ffn_hidden_size": 96,
    "moe_router_load_balancing_type": "aux_loss",
}
SAME = {
    "a chosen dropout": (DENSE, {"attention_dropout": 0.3, "seq_length": 128, "bf16": True, "vocab_size": 1}),
    "a layout": (DENSE, {"tensor_model_parallel_size": 4, "expert_model_parallel_size": 2}),
    "a whole number": (DENSE, {"rotary_base": 10000.0, "rotary_percent": 1}),
    "an epsilon of float32": (DENSE, {"layernorm_epsilon": 9.999999747378752e-06}),
    "a default of None": (DENSE, {"add_qkv_bias": None, "kv_channels": None, "softmax_type": None}),
    "no predicted tokens": (DENSE, {"mtp_num_layers": 0, "num_experts": 0}),
    "a window of no end": (DENSE, {"window_size": (-1, -1)}),
    "experts' arguments of a dense model": (DENSE, {"moe_router_topk": 7, "kv_lora_rank": 3, "mamba_head_dim": 3}),
    "all heads": (DENSE | {"num_query_groups": 4}, {"group_query_attention": False, "num_query_groups": 1}),
    "every second layer": (EXPERTS, {"moe_layer_freq": 2}),
    "losses of experts": (EXPERTS, {"moe_router_load_balancing_type": ["seq_aux_loss", "none"]}),
    "experts as large as the MLP": (EXPERTS, {"moe_ffn_hidden_size": None}),
    "an argument of other scripts": (DENSE, {"train_iters": 5, "optimizer": "adam"}),
}
DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, tuple[Any, Any]]]] = {
    "a base": (DENSE, {"rotary_base": 10001}, {"rotary_base": (10001, 10000)}),
    "an epsilon": (DENSE, {"layernorm_epsilon": 1.001e-5}, {"layernorm_epsilon": (1.001e-5, 1e-5)}),
    "a window": (DENSE, {"window_size": [3, 0]}, {"window_size": ((3, 0), None)}),
    "rope scaling": (
        DENSE,
        {"use_rope_scaling": True},
        {"use_rope_scaling": (True, None), "rope_scaling_factor": (8.0, None)},
    ),
    "groups": (DENSE, {"group_query_attention": False}, {"num_query_groups": (4, 2)}),
    "a module's own layers": (DENSE, {"spec": ["a", "b"]}, {"spec": (("a", "b"), None)}),
    "experts": (EXPERTS, {"moe_layer_freq": 1}, {"moe_layer_freq": ((1, 1, 1, 1), (1, 0, 1, 0))}),
    "another method of routing": (
        EXPERTS,
        {"moe_router_load_balancing_type": ["sinkhorn"]},
        {"moe_router_load_balancing_type": (("sinkhorn",), ())},
    ),
    "a method of routing beside a loss": (
        EXPERTS,
        {"moe_router_load_balancing_type": ["aux_loss", "quantile_balancing"]},
        {"moe_router_load_balancing_type": (("quantile_balancing",), ())},
    ),
    "interleaved gates": (EXPERTS, {"moe_mlp_glu_interleave_size": 32}, {"moe_mlp_glu_interleave_size": (32, None)}),
}


@pytest.mark.parametrize("name", SAME)
def test_args_of_the_same_function_do_not_differ(name):
    args, changes = SAME[name]
    one, other = Namespace(**args), Namespace(**args | changes)
    assert differing_arguments(other, one) == differing_arguments(one, other) == {}


@pytest.mark.parametrize("name", DIFFERENT)
def test_differing_arguments_are_named(name):
    args, changes, expected = DIFFERENT[name]
    assert differing_arguments(Namespace(**args | changes), Namespace(**args)) == expected


def test_args_of_older_versions_are_compared():
    names = {"layernorm_epsilon": "norm_epsilon", "layernorm_zero_centered_gamma": "apply_layernorm_1p"}
    absent = {"softmax_type", "window_size", "quick_geglu", "use_mup", "activation_func_clamp_value"}
    older = {names.get(name, name): value for name, value in DENSE.items() if name not in absent}
    assert differing_arguments(Namespace(**older), Namespace(**DENSE)) == {}
    older["norm_epsilon"] = 1e-6
    assert differing_arguments(Namespace(**older), Namespace(**DENSE)) == {"layernorm_epsilon": (1e-6, 1e-5)}
    # A version without windows trained without one.
    windowed = Namespace(**DENSE | {"window_size": (3, 0)})
    assert differing_arguments(Namespace(**DENSE | {"norm_epsilon": 1e-5}), windowed) == {
        "window_size": (None, (3, 0))
    }


def test_missing_yarn_argument_is_reported_as_unknown():
    yarn = DENSE | {"position_embedding_type": "yarn", "rotary_scaling_factor": 4.0}
    defaults = {"yarn_original_max_position_embeddings": 4096, "yarn_beta_fast": 32.0, "yarn_beta_slow": 1.0}
    assert differing_arguments(Namespace(**yarn), Namespace(**yarn | defaults)) == {}
    del yarn["yarn_original_max_position_embeddings"]
    assert differing_arguments(Namespace(**yarn), Namespace(**DENSE | yarn | defaults)) == {
        "yarn_original_max_position_embeddings": ("unknown", 4096)
    }


def test_differences_are_described_with_both_values():
    text = describe_differences({"rotary_base": (5, 10000), "window_size": ((3, 0), None)}, "release")
    assert text == "rotary_base=5 (release: 10000), window_size=(3, 0) (release: None)"


@pytest.mark.parametrize(
    ("args", "factor"),
    [
        ({}, None),
        ({"use_rope_scaling": False, "rope_scaling_factor": 32.0}, None),
        ({"use_rope_scaling": True}, 8.0),
        ({"use_rope_scaling": True, "rope_scaling_factor": 8}, 8.0),
        ({"use_rope_scaling": True, "rope_scaling_factor": 32.0, BUILT_FACTOR: 32.0}, 32.0),
        ({"use_rope_scaling": True, "rope_scaling_factor": 32.0, BUILT_FACTOR: 8}, 8.0),
    ],
)
def test_rope_scaling_factor_is_built_factor_or_default(args, factor):
    assert applied_rope_scaling_factor(Namespace(**args)) == factor


def test_unrecorded_rope_factor_is_refused():
    with pytest.raises(UnknownRopeFactorError) as raised:
        applied_rope_scaling_factor(Namespace(use_rope_scaling=True, rope_scaling_factor=32.0))
    assert raised.value.factor == 32.0


@pytest.mark.parametrize(
    "name",
    [
        *("layernorm_epsilon", "position_embedding_type", "rotary_base", "group_query_attention"),
        *("multi_latent_attention", "num_experts", "use_rope_scaling"),
    ],
)
def test_missing_required_argument_is_refused(name):
    check_args(Namespace(**DENSE))
    values = {key: value for key, value in DENSE.items() if key != name}
    with pytest.raises(ArgsError) as raised:
        check_args(Namespace(**values))
    assert (raised.value.names, raised.value.problem) == ((name,), "missing")


def test_arguments_of_later_versions_may_be_missing():
    older = {name: value for name, value in DENSE.items() if name not in LATER_ARGUMENTS}
    older["norm_epsilon"] = older.pop("layernorm_epsilon")
    older["apply_layernorm_1p"] = older.pop("layernorm_zero_centered_gamma")
    check_args(Namespace(**older))
    # Arguments of experts are needed for experts alone.
    del older["moe_router_topk"]
    check_args(Namespace(**older))
    with pytest.raises(ArgsError) as raised:
        check_args(Namespace(**older | {"num_experts": 4}))
    assert (raised.value.names, raised.value.problem) == (("moe_router_topk",), "missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("vocab_size", "500"), ("layernorm_epsilon", None), ("rotary_base", "10k"), ("num_layers", True)),
        (BUILT_FACTOR, "abc"),
    ],
)
def test_argument_that_is_not_a_number_is_refused(name, value):
    with pytest.raises(ArgsError) as raised:
        check_args(Namespace(**DENSE | {name: value}))
    assert (raised.value.names, raised.value.problem, raised.value.value) == ((name,), "not a number", value)


@pytest.mark.parametrize("name", ["layernorm_epsilon", "rotary_percent", "rope_scaling_factor", BUILT_FACTOR])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_argument_that_is_not_finite_is_refused(name, value):
    with pytest.raises(ArgsError) as raised:
        check_args(Namespace(**DENSE | {name: value}))
    assert (raised.value.names, raised.value.problem) == ((name,), "not finite")


def test_layers_of_older_hybrid_models_are_compared():
    older = {
        "hybrid_override_pattern": "M*-M",
        **{name: DENSE[name] for name in DENSE if name != "hybrid_layer_pattern"},
    }
    assert differing_arguments(Namespace(**older), Namespace(**DENSE | {"hybrid_layer_pattern": "M*-M"})) == {}
    assert differing_arguments(Namespace(**older), Namespace(**DENSE))["hybrid_layer_pattern"] == ("M*-M", None)
