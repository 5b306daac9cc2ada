# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Derives the config.json of an export from the args with which Megatron-LM trained the checkpoint.

It starts from the source model's config. For each argument that differs from those of an import of that config, a rule
sets a field. Then the args of an import of the new config are compared: remaining differences are refused. Changed fields
are written in the forms of transformers 4 and 5.

Importing this module imports neither torch nor Megatron Core.
"""

import copy
import math
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from megatron.bridge.release.errors import one_line
from megatron.bridge.release.export.config_errors import (
    InexactConfigError,
    InexpressibleArgsError,
    InvalidTrainedConfigError,
    TokenizerMismatchError,
    VocabSizeMismatchError,
)
from megatron.bridge.release.megatron_args.comparison import (
    applied_rope_scaling_factor,
    differing_arguments,
)


# For each argument that corresponds to one field: the field, and the function that computes its value.
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "layernorm_epsilon": ("rms_norm_eps", float),
    "moe_router_group_topk": ("topk_group", lambda value: value),
    "moe_router_num_groups": ("n_group", lambda value: value),
    "moe_router_pre_softmax": ("norm_topk_prob", lambda value: not value),
    "moe_router_topk": ("num_experts_per_tok", lambda value: value),
    "moe_router_topk_scaling_factor": ("routed_scaling_factor", lambda value: value),
    # Megatron-LM's window counts the tokens on the left, without the token itself.
    "window_size": ("sliding_window", lambda window: window[0] + 1 if isinstance(window, tuple) else window),
}

# Arguments of the rotary embedding. Each of yarn corresponds to one of the rope parameters.
_YARN: dict[str, str] = {
    "mscale": "mscale",
    "mscale_all_dim": "mscale_all_dim",
    "rotary_scaling_factor": "factor",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
    "yarn_correction_range_round_to_int": "truncate",
    "yarn_original_max_position_embeddings": "original_max_position_embeddings",
}
_ROPE = {
    *("position_embedding_type", "rope_scaling_factor", "rotary_base", "rotary_seq_len_interpolation_factor"),
    *("use_rope_scaling", *_YARN),
}
# Constants of Megatron Core's --use-rope-scaling.
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}

_LENGTH = "max_position_embeddings"
_PARTIAL = "partial_rotary_factor"


def export_config(
    args: Namespace, source: dict[str, Any], bridge: Any, *, dtype: str, vocab_size: int | None = None
) -> dict[str, Any]:
    """Derive the config.json of a trained checkpoint.

    Args:
        args: Args in the common state of the checkpoint.
        source: Content of the source model's config.json.
        bridge: The `AutoBridge` of the source model.
        dtype: ``bfloat16``, ``float16`` or ``float32``.
        vocab_size: Rows of the exported embedding, if their number differs from the source model's.

    Raises:
        UnknownRopeFactorError: If the args do not record which rope scaling factor was applied.
        InexpressibleArgsError, InexactConfigError, InvalidTrainedConfigError: If no config of this model describes what
            was trained.
    """
    from megatron.bridge.release.validation.provider import imported_args

    args = Namespace(**vars(args))
    args.rope_scaling_factor = applied_rope_scaling_factor(args)
    config = _config(source, bridge)
    release = imported_args(bridge)
    differences = differing_arguments(args, release)
    derived = copy.deepcopy(source)
    fields = _text_part(derived)
    for name in differences.keys() & _FIELDS.keys():
        field, convert = _FIELDS[name]
        fields[field] = convert(differences[name][0])
    # The sequence length of the training changes the model's maximum only if it is longer.
    length = getattr(args, _LENGTH, None) or max(release.max_position_embeddings, getattr(args, "seq_length", 0) or 0)
    if length != release.max_position_embeddings:
        fields[_LENGTH] = length
    if vocab_size is not None:
        fields["vocab_size"] = vocab_size
    rope = _rope_parameters(config)
    if rope is not None:
        if differences.keys() & _ROPE:
            rope = _trained_rope(args, rope, {*differences})
        fields.update(_in_both_forms(rope))
    for part in {id(part): part for part in (derived, fields)}.values():
        part.update(dtype=dtype, torch_dtype=dtype)
    _check_trained(args, derived, bridge, differences, config)
    return derived


def exported_vocab_size(args: Namespace, source: dict[str, Any], rows: int, tokenizer_size: int | None = None) -> int:
    """Return how many rows of the embedding an export writes.

    Args:
        args: Args in the common state of the checkpoint.
        source: Content of the source model's config.json.
        rows: Rows of the checkpoint's embedding, with padding.
        tokenizer_size: Tokens of the tokenizer of the training; None if it is the source model's tokenizer.

    Raises:
        TokenizerMismatchError, VocabSizeMismatchError: If the rows, without padding, are neither the source model's nor
            the tokenizer's.
    """
    size: int = _text_part(source)["vocab_size"]
    if tokenizer_size is not None:
        if tokenizer_size > rows:
            raise TokenizerMismatchError(tokenizer_size, rows, tokenizer_size)
        trained_size = getattr(args, "vocab_size", None)
        if isinstance(trained_size, int) and trained_size > max(size, tokenizer_size):
            raise TokenizerMismatchError(tokenizer_size, None, trained_size)
        # A config may declare more rows than its tokenizer has tokens.
        return max(size, tokenizer_size) if size <= rows else tokenizer_size
    divisible_by = getattr(args, "make_vocab_size_divisible_by", None) or 1
    tensor_parallel = getattr(args, "tensor_model_parallel_size", None) or 1
    # An import pads to 128 rows, at any tensor parallelism.
    multiples = (1, divisible_by, divisible_by * tensor_parallel, math.lcm(128, divisible_by))
    trained_size = getattr(args, "vocab_size", None) or size
    if trained_size > size or rows not in {-(-size // multiple) * multiple for multiple in multiples}:
        raise VocabSizeMismatchError(rows, getattr(args, "vocab_size", None), size)
    return size


def _config(content: dict[str, Any], bridge: Any) -> Any:
    """Make the config object of a config.json."""
    hf_pretrained = bridge.hf_pretrained
    config_class = type(getattr(hf_pretrained, "config", hf_pretrained))
    return config_class.from_dict(copy.deepcopy(content))


def _check_trained(
    args: Namespace, derived: dict[str, Any], bridge: Any, differences: dict[str, tuple[Any, Any]], source: Any
) -> None:
    """Check that an import of the derived config has the args of the checkpoint, and computes the same function."""
    from megatron.bridge.release.validation.config import check_config
    from megatron.bridge.release.validation.provider import imported_args

    try:
        config = _config(derived, bridge)
        left = differing_arguments(args, imported_args(type(bridge).from_hf_config(config)))
    except Exception as error:
        # Values of another architecture: its config and its bridge may raise anything.
        if not differences:
            raise InvalidTrainedConfigError(one_line(error)) from error
        left = differences
    if left:
        # Show the release's values, not those that the rules derived.
        raise InexpressibleArgsError(
            {name: (value, differences.get(name, (None, derived))[1]) for name, (value, derived) in left.items()}
        )
    refused = check_config(config).refused
    known = check_config(source).refused
    if new := [text for text in refused if text not in known]:
        raise InexactConfigError(differences, tuple(new))


def _text_part(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a config.json that describes the language model."""
    part = config.get("text_config")
    return part if isinstance(part, dict) else config


def _rope_parameters(config: Any) -> dict[str, Any] | None:
    """Return the rope parameters in the form of transformers 5; None if there are none, or several by layer type."""
    rope = getattr(config.get_text_config(), "rope_parameters", None)
    if not isinstance(rope, dict) or "rope_theta" not in rope or rope["rope_theta"] is None:
        return None
    # Older configs call rope_type "type".
    return {name: value for name, value in rope.items() if name != "type"}


def _trained_rope(args: Namespace, rope: dict[str, Any], changed: set[str]) -> dict[str, Any]:
    """Return the rope parameters of a checkpoint's args, from the source model's and the differing arguments."""
    theta = {"rope_theta": float(args.rotary_base)}
    if getattr(args, "multi_latent_attention", False):
        return rope | theta | {part: getattr(args, name) for name, part in _YARN.items() if name in changed}
    factor = getattr(args, "rotary_seq_len_interpolation_factor", None)
    if args.position_embedding_type == "yarn":
        trained = {"rope_type": "yarn"} | {
            part: getattr(args, name, None)
            for name, part in _YARN.items()
            if name in changed or rope["rope_type"] != "yarn"
        }
        if not trained.get("mscale_all_dim", True):
            # Without it, both libraries ignore mscale.
            trained.update(mscale=None, mscale_all_dim=None)
        if "truncate" in trained:
            trained["truncate"] = trained["truncate"] is not False
    elif getattr(args, "use_rope_scaling", False):
        trained = {"rope_type": "llama3", "factor": args.rope_scaling_factor, **_LLAMA3}
    elif factor is not None:
        trained = {"rope_type": "linear", "factor": float(factor)}
    else:
        trained = {"rope_type": "default"}
    kept = rope if trained["rope_type"] == rope.get("rope_type") else {}
    return {name: value for name, value in (kept | theta | trained).items() if value is not None}


def _in_both_forms(rope: dict[str, Any]) -> dict[str, Any]:
    """Return the config fields for rope parameters of transformers 4 and of transformers 5."""
    scaling = {name: value for name, value in rope.items() if name not in ("rope_theta", _PARTIAL)}
    if scaling.get("rope_type") == "default" and len(scaling) == 1:
        rope_scaling = None
    else:
        # Before transformers 4.43, rope_type was called type.
        rope_scaling = {"type": rope["rope_type"], **scaling}
    fields = {"rope_theta": rope["rope_theta"], "rope_scaling": rope_scaling, "rope_parameters": rope}
    return fields | ({_PARTIAL: rope[_PARTIAL]} if _PARTIAL in rope else {})
