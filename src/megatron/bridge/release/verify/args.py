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

"""Compares Megatron-LM's args with the tensors of a checkpoint."""

from argparse import Namespace
from typing import Any

from megatron.bridge.release.export.config import exported_vocab_size
from megatron.bridge.release.megatron_args.comparison import (
    ArgsError,
    UnknownRopeFactorError,
    applied_rope_scaling_factor,
    describe_differences,
    differing_arguments,
    check_args,
)
from megatron.bridge.release.verify.dcp_metadata import Metadata


# The args that Megatron-LM asks of a checkpoint for any model, from core 0.14 to 0.19. Hooks write a few of them.
NEEDED_ARGS = (
    *("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups"),
    *("group_query_attention", "kv_channels", "seq_length", "max_position_embeddings", "position_embedding_type"),
    *("rotary_base", "rotary_percent", "rotary_interleaved", "normalization", "add_bias_linear", "add_qkv_bias"),
    *("swiglu", "squared_relu", "untie_embeddings_and_output_weights", "attention_dropout", "hidden_dropout"),
    *("vocab_size", "make_vocab_size_divisible_by", "padded_vocab_size", "add_position_embedding"),
    *("tokenizer_type", "tokenizer_model", "tensor_model_parallel_size", "pipeline_model_parallel_size"),
)

EMBEDDING = "embedding.word_embeddings.weight"


def find_args_problem(args: dict[str, Any], metadata: Metadata | None) -> str | None:
    """Compare Megatron-LM's args with the shapes of the tensors.

    Args:
        args: The args, by their names.
        metadata: The checkpoint's metadata; None if it cannot be read.

    Returns:
        What is wrong with the args, without a full stop; None if nothing is.
    """
    if lacking := [name for name in NEEDED_ARGS if name not in args]:
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
        return f"args that Megatron-LM needs are missing: {', '.join(lacking[:3])}{more}"
    channels_name = "v_head_dim" if args.get("multi_latent_attention") else "kv_channels"
    sizes = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", channels_name, "padded_vocab_size")
    for name in sizes:
        if type(args.get(name)) is not int:
            return f"args.{name} is {args.get(name)!r}, no number"
    if metadata is None:
        return None
    layers, hidden, ffn, heads, channels, vocabulary = (args[name] for name in sizes)
    if EMBEDDING in metadata.tensors:
        # A reader adds rows of padding that are not stored.
        rows, words, multiple = (
            metadata.tensors[EMBEDDING].shape[0],
            args["vocab_size"],
            args["make_vocab_size_divisible_by"],
        )
        if words is not None and words <= rows < vocabulary == -(-words // multiple) * multiple:
            vocabulary = rows
    for key, expected in {
        EMBEDDING: (vocabulary, hidden),
        "output_layer.weight": (vocabulary, hidden),
        # Layers that are alike share a key.
        "decoder.layers.self_attention.linear_proj.weight": (layers, hidden, heads * channels),
        "decoder.layers.mlp.linear_fc2.weight": (layers, hidden, ffn),
    }.items():
        if key in metadata.tensors and metadata.tensors[key].shape != expected:
            stored = " by ".join(map(str, metadata.tensors[key].shape))
            return f"{key} is {stored}, and args say {' by '.join(map(str, expected))}"
    untied = args["untie_embeddings_and_output_weights"]
    if EMBEDDING in metadata.tensors and untied is not ("output_layer.weight" in metadata.tensors):
        return f"args.untie_embeddings_and_output_weights is {untied!r}, and the tensors say otherwise"
    return None


def trained_differences(trained: Namespace, release: Namespace) -> dict[str, tuple[Any, Any]]:
    """Compare the args of a trained checkpoint with those of its release: the computation and the context length.

    Args:
        trained: Args of the checkpoint, with the rope scaling factor that the training applied.
        release: Args of the release.

    Returns:
        The value of each argument that differs and the release's, by its name.
    """
    differences = differing_arguments(trained, release)
    lengths = tuple(getattr(args, "max_position_embeddings", None) for args in (trained, release))
    if lengths[0] != lengths[1]:
        differences["max_position_embeddings"] = (lengths[0], lengths[1])
    return differences


def describe_training(args: dict[str, Any], release: dict[str, Any], metadata: Metadata | None) -> list[str]:
    """Compare the args of a trained checkpoint with those of the release that it started from.

    Args:
        args: Args of the checkpoint.
        release: Args of the release.
        metadata: Metadata of the checkpoint; None if it cannot be read.

    Returns:
        What differs and what an export does with it; empty if the release's model was trained.
    """
    trained, expected = Namespace(**args), Namespace(**release)
    try:
        check_args(trained)
    except ArgsError as error:
        return [f"An export is refused. {error}"]
    notes = []
    try:
        trained.rope_scaling_factor = applied_rope_scaling_factor(trained)
    except UnknownRopeFactorError as error:
        notes.append(
            f"The args contain rope_scaling_factor={error.factor}, which Megatron-LM's own scripts ignore, and do not record "
            "which factor the training applied. For an export, pass it with --rope-scaling-factor."
        )
        trained.rope_scaling_factor = release.get("rope_scaling_factor")
    differences = trained_differences(trained, expected)
    if differences:
        notes.append(
            f"Trained with other arguments than the release: {describe_differences(differences, 'release')}. An export "
            "writes them into config.json, or is refused if a Hugging Face config cannot express them."
        )
    if metadata is not None and EMBEDDING in metadata.tensors and release.get("vocab_size"):
        try:
            exported_vocab_size(trained, release, metadata.tensors[EMBEDDING].shape[0])
        except ValueError as error:
            notes.append(str(error))
    return notes
