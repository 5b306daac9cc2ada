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

"""Which fields of a Hugging Face config a release carries into Megatron-LM, and for which values, family by family.

A field is carried where Megatron-Bridge gives its value to Megatron's model and a flag of Megatron-LM's gives the same
to the model that it builds. Read from the config classes and models of transformers 5.12, the bridges of
Megatron-Bridge 0.6.2, and Megatron-LM's parser and builder of core 0.19; the tests compute both sides for each value.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megatron.bridge.release.source_content import HARMLESS_FIELDS


_BRIDGE = "Train it with Megatron-Bridge."
_TOO_LARGE = 2**53  # Beyond it, not every whole number is a float.
_FLOAT32 = 2.0**-23  # The distance of two numbers, relative to them, in which both compute.
_NOTHING = "Nothing in Megatron-LM carries it."


@dataclass(frozen=True)
class Field:
    """A field of a config.

    Attributes:
        name: Its name; of a part of ``rope_parameters``, after a dot.
        values: The values that are carried, in words.
        carries: Tells whether a value is carried, of the value and the whole config.
        instead: What does carry another value.
    """

    name: str
    values: str = "any"
    carries: Callable[[Any, Any], bool] = lambda value, config: True
    instead: str = _NOTHING


def _only(*values: Any) -> Callable[[Any, Any], bool]:
    # 1 is not True, and 0 not False: a config's author who wrote the one may have meant something else.
    return lambda value, config: any(
        value == one and isinstance(value, bool) == isinstance(one, bool) for one in values
    )


def _is_number(value: Any) -> bool:
    # True counts as 1 to Python and to transformers, and is no value of a flag.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any, config: Any) -> bool:
    return _is_number(value) and value == int(value) and 0 < value < _TOO_LARGE


def _is_base(value: Any, config: Any) -> bool:
    # Of yarn, transformers divides by its logarithm.
    return _is_whole(value, config) and (value > 1 or config.rope_parameters.get("rope_type") != "yarn")


def _is_positive(value: Any, config: Any) -> bool:
    return _is_number(value) and 0 < value < float("inf")


def _is_probability(value: Any, config: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_positive_or_none(value: Any, config: Any) -> bool:
    return value is None or _is_positive(value, config)


def _is_rope_length(value: Any, config: Any) -> bool:
    return bool(value == config.rope_parameters.get("original_max_position_embeddings"))


def _is_window(value: Any, config: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _all_full(value: Any, config: Any) -> bool:
    return value is None or all(kind == "full_attention" for kind in value)


def _no_window_in_use(value: Any, config: Any) -> bool:
    return value is None or not getattr(config, "use_sliding_window", False)


def _topk(value: Any, config: Any) -> bool:
    if not _is_number(value) or not 0 < value <= config.num_local_experts:
        return False
    # Megatron Core's top-1 does not normalize: see the field's `instead`.
    return value > 1 or not getattr(config, "norm_topk_prob", False)


def _is_usual_attention_factor(value: Any, config: Any) -> bool:
    """Return whether it is what transformers and Megatron Core compute where the config has none."""
    if value is None:
        return True
    rope = config.rope_parameters
    scales = rope.get("mscale"), rope.get("mscale_all_dim")

    def scaled(by: float) -> float:
        return 1.0 if rope.get("factor") <= 1 else 0.1 * by * math.log(rope.get("factor")) + 1

    usual = scaled(scales[0]) / scaled(scales[1]) if all(scales) else scaled(1)
    return math.isclose(value, usual, rel_tol=_FLOAT32)


def _both_or_none(other: str) -> Callable[[Any, Any], bool]:
    # Absent, not zero: transformers takes zero for absent, Megatron Core for a value.
    def carries(value: Any, config: Any) -> bool:
        its = config.rope_parameters.get(other)
        return its is None if value is None else bool(value and its)

    return carries


_SIZES = (
    Field("vocab_size"),
    Field("hidden_size"),
    Field("intermediate_size"),
    Field("num_hidden_layers"),
    Field("num_attention_heads"),
    Field("num_key_value_heads"),
    Field("head_dim"),
    Field("max_position_embeddings"),
    Field("rms_norm_eps", "positive numbers", _is_positive),
    Field("tie_word_embeddings"),
)

_SILU = Field(
    "hidden_act",
    "silu",
    _only("silu"),
    f"Megatron-LM has a flag for the gated SiLU (--swiglu) and for no other gated activation of this model's. {_BRIDGE}",
)
_NO_ATTENTION_BIAS = Field(
    "attention_bias", "false", _only(False, None), "Megatron-Bridge maps no bias of this model's attention."
)
_NO_MLP_BIAS = Field("mlp_bias", "false", _only(False, None), "Megatron-Bridge maps no bias of this model's MLP.")

_ROPE_BASE = Field(
    "rope_parameters.rope_theta", "whole numbers", _is_base, f"--rotary-base takes whole numbers. {_BRIDGE}"
)
_WHOLE_HEAD = Field("rope_parameters.partial_rotary_factor", "1", _only(1, None))


def _rope_type(*types: str) -> Field:
    return Field("rope_parameters.rope_type", ", ".join(types), _only(*types))


_LLAMA3 = (
    Field("rope_parameters.low_freq_factor", "1", _only(1, None), "It is a constant in Megatron Core."),
    Field("rope_parameters.high_freq_factor", "4", _only(4, None), "It is a constant in Megatron Core."),
)
_YARN = (
    Field("rope_parameters.beta_fast", "positive numbers, none", _is_positive_or_none),
    Field("rope_parameters.beta_slow", "positive numbers, none", _is_positive_or_none),
    Field("rope_parameters.truncate", "true, false", _only(True, False)),
    Field("rope_parameters.mscale", "with mscale_all_dim, or none", _both_or_none("mscale_all_dim")),
    Field("rope_parameters.mscale_all_dim", "with mscale, or none", _both_or_none("mscale")),
    Field(
        "rope_parameters.attention_factor",
        "none, what Megatron Core computes",
        _is_usual_attention_factor,
        "Megatron Core computes it of the factor, mscale and mscale_all_dim.",
    ),
)


def _llama_factor(value: Any, config: Any) -> bool:
    kind = config.rope_parameters.get("rope_type")
    return _is_whole(value, config) if kind == "linear" else _is_positive(value, config)


def _llama_original(value: Any, config: Any) -> bool:
    return type(value) is int and (config.rope_parameters.get("rope_type") != "llama3" or value == 8192)


_LLAMA_ROPE = (
    _rope_type("default", "linear", "llama3", "yarn"),
    Field(
        "rope_parameters.factor",
        "any (linear: whole numbers; llama3: see Limits)",
        _llama_factor,
        f"--rotary-seq-len-interpolation-factor takes whole numbers. {_BRIDGE}",
    ),
    Field(
        "rope_parameters.original_max_position_embeddings",
        "any (llama3: 8192)",
        _llama_original,
        "Of llama3's, it is a constant in Megatron Core.",
    ),
    *_LLAMA3,
    *_YARN,
)
_YARN_ROPE = (
    _rope_type("default", "yarn"),
    Field("rope_parameters.factor", "positive numbers", _is_positive),
    Field(
        "rope_parameters.original_max_position_embeddings",
        "whole numbers, written so",
        lambda value, config: type(value) is int,
    ),
    *_YARN,
)

# `layer_types` alone decides which layers have a window.
_QWEN_WINDOW = (
    Field("use_sliding_window"),
    Field("max_window_layers"),
    Field("sliding_window"),
    Field("layer_types", "full_attention", _all_full, "Megatron-Bridge gives this model's windows to no layer."),
)

_LATENT = (
    Field("q_lora_rank"),
    Field("kv_lora_rank"),
    Field("qk_nope_head_dim"),
    Field("qk_rope_head_dim"),
    Field("qk_head_dim"),
    Field("v_head_dim"),
    Field("n_routed_experts"),
    Field("n_shared_experts", "1 and more", lambda value, config: bool(value)),
    Field("num_experts_per_tok"),
    Field("moe_intermediate_size"),
    Field("first_k_dense_replace"),
    Field("routed_scaling_factor"),
    Field("n_group"),
    Field("topk_group"),
    Field("moe_layer_freq", "1", _only(1, None)),
    Field("num_nextn_predict_layers"),
    Field("aux_loss_alpha"),
    Field("ep_size"),
    Field("seq_aux"),
    _rope_type("default", "yarn"),
    Field("rope_parameters.factor"),
    Field("rope_parameters.original_max_position_embeddings"),
    *_YARN[:2],
    Field("rope_parameters.mscale"),
    Field("rope_parameters.mscale_all_dim"),
    _YARN[-1],
)

_DROPOUT = Field("attention_dropout", "0 to 1", _is_probability)
_NO_DROPOUT = Field(
    "attention_dropout",
    "0",
    _only(0),
    "Megatron-Bridge takes this model's from no config: give Megatron-LM --attention-dropout.",
)
_COMMON = (
    *_SIZES,
    _ROPE_BASE,
    _WHOLE_HEAD,
    # Declared by none of these config classes, and read by transformers all the same.
    Field("is_causal", "true", _only(True)),
    Field("original_max_position_embeddings", "what rope_parameters has", _is_rope_length),
)

FAMILIES: Mapping[str, tuple[Field, ...]] = {
    "llama": (*_COMMON, _DROPOUT, _SILU, _NO_ATTENTION_BIAS, _NO_MLP_BIAS, *_LLAMA_ROPE),
    "mistral": (
        *_COMMON,
        _SILU,
        _NO_DROPOUT,
        Field("sliding_window", "none, 1 and more", _is_window),
        _rope_type("default"),
    ),
    "qwen2": (*_COMMON, _DROPOUT, _SILU, *_QWEN_WINDOW, *_YARN_ROPE),
    "qwen3": (*_COMMON, _DROPOUT, _SILU, _NO_ATTENTION_BIAS, *_QWEN_WINDOW, *_YARN_ROPE),
    "qwen3_moe": (
        *_COMMON,
        _DROPOUT,
        _SILU,
        _NO_ATTENTION_BIAS,
        Field("use_sliding_window"),
        Field("max_window_layers"),
        Field(
            "sliding_window",
            "none",
            _no_window_in_use,
            "Megatron-Bridge gives this model's windows to no layer.",
        ),
        Field("num_experts"),
        Field("num_local_experts"),
        Field(
            "num_experts_per_tok",
            "2 and more; 1 where norm_topk_prob is false",
            _topk,
            "For top-1, Megatron Core requires the softmax before the top-k, which leaves the weights unnormalized.",
        ),
        Field("norm_topk_prob"),
        Field("moe_intermediate_size"),
        Field("decoder_sparse_step", "1", _only(1), "Megatron-Bridge makes every layer of this model one of experts."),
        Field(
            "mlp_only_layers",
            "none",
            _only([], None),
            "Megatron-Bridge makes every layer of this model one of experts.",
        ),
        *_YARN_ROPE,
    ),
    "gemma": (
        *_COMMON,
        _NO_DROPOUT,
        Field(
            "hidden_act",
            "none",
            lambda value, config: False,
            f"No flag of Megatron-LM's gives it, nor Gemma's embedding. {_BRIDGE}",
        ),
        Field("hidden_activation", "any"),
        _NO_ATTENTION_BIAS,
        Field("use_bidirectional_attention", "false", _only(False, None)),
        _rope_type("default"),
    ),
    "deepseek_v2": (
        *_COMMON,
        _DROPOUT,
        _SILU,
        _NO_ATTENTION_BIAS,
        _NO_MLP_BIAS,
        Field("topk_method", "greedy", _only("greedy")),
        Field("scoring_func", "softmax", _only("softmax", None)),
        Field("norm_topk_prob", "false", _only(False)),
        *_LATENT,
    ),
    "deepseek_v3": (
        *_COMMON,
        _DROPOUT,
        _SILU,
        _NO_ATTENTION_BIAS,
        Field("topk_method", "noaux_tc", _only("noaux_tc", None)),
        Field("scoring_func", "sigmoid", _only("sigmoid", None)),
        Field("norm_topk_prob", "true", _only(True)),
        Field("rope_interleave", "true", _only(True, None)),
        *_LATENT,
    ),
}

# What no family's model computes with: tokens, training losses, generation, a config's own history.
IGNORED_FIELDS = HARMLESS_FIELDS | {
    *("architectures", "auto_map", "dtype", "model_type", "quantization_config", "torch_dtype")
}
