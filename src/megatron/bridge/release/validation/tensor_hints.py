# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Explains missing, unexpected and misshapen tensors by their usual reasons, with what to do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from megatron.bridge.release.compat.transformers_api import AutoHfQuantizer
from megatron.bridge.release.source.dtypes import FLOAT_DTYPES, TORCH_DTYPES
from megatron.bridge.release.source.safetensors_index import TensorInfo


_LAYER = re.compile(r"(?:^|\.)layers\.(0|[1-9][0-9]{0,17})\.")
_ADAPTER = re.compile(r"lora_|\.dora_|modules_to_save|^base_model\.")
_VOCABULARY = re.compile(r"(?:^|\.)(?:embed_tokens|lm_head|wte|word_embeddings)\.weight$")
_EXPERT = re.compile(r"\.experts\.[0-9]+\.")
_FUSED_EXPERTS = re.compile(r"\.experts\.(?:gate_up_proj|down_proj|gate_proj|up_proj|w[123]|w1w3|w2)(?:\.weight)?$")
_QUANTIZED = re.compile(
    r"(?:qweight|qzeros|scales|g_idx|weight_packed|weight_shape|absmax|quant_map|quant_state\.[\w.]+|SCB"
    r"|(?:weight|input|activation)_scale(?:_inv)?|_blocks|_scales|zero_point)$"
)


def quantization_method(config: Any) -> str | None:
    """Return the quantization method of a config, such as ``gptq``; None if it declares none."""
    quantization = getattr(config, "quantization_config", None)
    if quantization is None:
        return None
    get = quantization.get if isinstance(quantization, dict) else lambda name: getattr(quantization, name, None)
    method = get("quant_method") or "an unnamed method"  # type: ignore[no-untyped-call,unused-ignore]
    return str(getattr(method, "value", method))


def is_unquantized_despite_config(config: Any, headers: Iterable[TensorInfo]) -> bool:
    """Return whether a config declares quantized weights and the given ones are not, so that transformers rejects them."""
    quantization = getattr(config, "quantization_config", None)
    if quantization is None or any(TORCH_DTYPES.get(header.dtype) not in FLOAT_DTYPES for header in headers):
        return False
    try:
        # transformers ignores unknown quantization methods.
        return bool(AutoHfQuantizer.supports_quant_method(quantization))  # type: ignore[no-untyped-call,unused-ignore]
    except ValueError:
        # It declares no method, which transformers rejects.
        return True


def explain_missing(
    missing: Sequence[str], unused: Sequence[str], headers: Mapping[str, TensorInfo], config: Any
) -> str:
    """Explain why tensors may be missing.

    Args:
        missing: Names of the missing tensors.
        unused: Names of the unexpected tensors.
        headers: Headers of all tensors of the model.
        config: Its config.
    """
    quantized = _quantized(unused, config)
    if quantized:
        return quantized
    if fused := _fused_experts(missing, unused):
        return (
            f"The experts of a layer are fused into one tensor ({fused}), and Megatron-Bridge requires a tensor for each "
            "expert of this model. Load the model with transformers 5 and save it with save_pretrained(), which separates them."
        )
    if prefix := _other_prefix(missing, unused):
        return f"Tensor names have an unexpected prefix ({prefix}). Save the model again with save_pretrained()."
    layers = [int(match[1]) for name in headers if (match := _LAYER.search(name))]
    if layers and all((match := _LAYER.search(name)) and int(match[1]) > max(layers) for name in missing):
        return (
            f"config.json declares {getattr(config, 'num_hidden_layers', 'more')} layers; the weights contain {max(layers) + 1}. "
            "config.json may belong to a different model, or a file may be missing."
        )
    if any("lm_head" in name for name in missing):
        return "A file may be missing, or config.json may have to set tie_word_embeddings to true."
    return "A file may be missing, or config.json may belong to a different model. Download the model again."


def explain_unexpected(
    unused: Sequence[str], missing: Sequence[str], headers: Mapping[str, TensorInfo], config: Any
) -> str:
    """Explain why tensors may be unexpected. Args: as `explain_missing`."""
    if any(_ADAPTER.search(name) for name in unused):
        return "These are LoRA weights. Merge them first: model.merge_and_unload() of PEFT."
    quantized = _quantized(unused, config)
    if quantized:
        return quantized if not missing else ""
    if _fused_experts(missing, unused) or _other_prefix(missing, unused):
        return ""
    layers = getattr(config, "num_hidden_layers", None)
    if layers is not None and all((match := _LAYER.search(name)) and int(match[1]) >= layers for name in unused):
        return f"config.json declares {layers} layers; the weights contain more. config.json may belong to a different model."
    files = sorted({headers[name].file for name in unused})
    where = (
        f" They are in {', '.join(files)}." if files != sorted({header.file for header in headers.values()}) else ""
    )
    return f"Megatron-Bridge does not convert them; they may belong to a different architecture.{where}"


def explain_shapes(
    names: Sequence[str], expected: Mapping[str, tuple[int, ...]], headers: Mapping[str, TensorInfo], config: Any
) -> str:
    """Explain why tensors may have other shapes than the config implies.

    Args:
        names: Names of the tensors that differ.
        expected: The shapes that the config implies, as far as they are known.
        headers: Headers of all tensors of the model.
        config: Its config.
    """
    empty = [name for name in names if name in headers and 0 in headers[name].shape]
    if empty:
        return (
            f"{len(empty)} of them are empty: DeepSpeed ZeRO-3 may have saved placeholders of partitioned parameters. Save "
            "the model with stage3_gather_16bit_weights_on_model_save, or run zero_to_fp32.py on the training checkpoint."
        )
    rows = {headers[name].shape[:1] for name in names if name in headers}
    if len(rows) == 1 and all(
        _VOCABULARY.search(name) and name in expected and headers[name].shape[1:] == expected[name][1:]
        for name in names
    ):
        ((resized,),) = rows
        return (
            f"The embedding may have been resized, for example by PEFT, without the config: if the model has {resized} "
            f"tokens, set vocab_size in config.json to {resized} (it is {getattr(config, 'vocab_size', 'missing')})."
        )
    return "config.json may belong to a different model."


def _quantized(unused: Sequence[str], config: Any) -> str:
    method = quantization_method(config)
    if method is None and not any(_QUANTIZED.search(name) for name in unused):
        return ""
    by = f" ({method})" if method else ""
    return f"The model is quantized{by}. Megatron-Bridge cannot dequantize it. Import its unquantized weights."


def _other_prefix(missing: Sequence[str], unused: Sequence[str]) -> str:
    """Return an example if the names in the files differ from the expected ones only by a prefix; else an empty string."""
    for longer, shorter, template in (
        (unused, set(missing), "found {0}, expected {1}"),
        (missing, set(unused), "found {1}, expected {0}"),
    ):
        for name in longer:
            rest = name
            while rest:
                rest = rest.partition(".")[2]
                if rest in shorter:
                    return template.format(name, rest)
    return ""


def _fused_experts(missing: Sequence[str], unused: Sequence[str]) -> str:
    """Return a tensor that contains all experts of a layer if single experts are missing; else an empty string."""
    if not any(_EXPERT.search(name) for name in missing):
        return ""
    return next((name for name in unused if _FUSED_EXPERTS.search(name)), "")
