# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Compares Megatron-LM's args with the tensors of a checkpoint."""

from argparse import Namespace
from typing import Any

from megatron.bridge.release.export.config import exported_vocab_size
from megatron.bridge.release.megatron_args.comparison import (
    applied_rope_scaling_factor,
    check_args,
    differing_arguments,
)
from megatron.bridge.release.megatron_args.errors import ArgsError, UnknownRopeFactorError
from megatron.bridge.release.verify.dcp_metadata import Metadata
from megatron.bridge.release.verify.errors import (
    ArgsProblem,
    ArgsShapeMismatch,
    ArgsTyingMismatch,
    MissingArgs,
    NonIntegerArg,
)
from megatron.bridge.release.verify.findings import ChangedArgs, FailedStep, Finding, UnrecordedRopeFactor


# The args that Megatron-LM (core 0.14 to 0.19) requires in a checkpoint of any model. Hooks write only a few.
NEEDED_ARGS = (
    *("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups"),
    *("group_query_attention", "kv_channels", "seq_length", "max_position_embeddings", "position_embedding_type"),
    *("rotary_base", "rotary_percent", "rotary_interleaved", "normalization", "add_bias_linear", "add_qkv_bias"),
    *("swiglu", "squared_relu", "untie_embeddings_and_output_weights", "attention_dropout", "hidden_dropout"),
    *("vocab_size", "make_vocab_size_divisible_by", "padded_vocab_size", "add_position_embedding"),
    *("tokenizer_type", "tokenizer_model", "tensor_model_parallel_size", "pipeline_model_parallel_size"),
)

EMBEDDING = "embedding.word_embeddings.weight"


def find_args_problem(args: dict[str, Any], metadata: Metadata | None) -> ArgsProblem | None:
    """Compare Megatron-LM's args with the shapes of a checkpoint's tensors, if its metadata can be read."""
    if missing := tuple(name for name in NEEDED_ARGS if name not in args):
        return MissingArgs(missing)
    head_size = "v_head_dim" if args.get("multi_latent_attention") else "kv_channels"
    sizes = ("num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", head_size, "padded_vocab_size")
    for name in sizes:
        if type(args.get(name)) is not int:
            return NonIntegerArg(name, args.get(name))
    if metadata is None:
        return None
    layers, hidden, ffn, heads, channels, vocabulary = (args[name] for name in sizes)
    shapes = {name: tensor.shape for name, tensor in metadata.tensors.items()}
    if EMBEDDING in shapes and args["vocab_size"] is not None:
        # The rows that a reader adds as padding need not be stored.
        rows, multiple = shapes[EMBEDDING][0], args["make_vocab_size_divisible_by"]
        if args["vocab_size"] <= rows < vocabulary == -(-args["vocab_size"] // multiple) * multiple:
            vocabulary = rows
    for name, expected in {
        EMBEDDING: (vocabulary, hidden),
        "output_layer.weight": (vocabulary, hidden),
        # Layers of the same kind share a key.
        "decoder.layers.self_attention.linear_proj.weight": (layers, hidden, heads * channels),
        "decoder.layers.mlp.linear_fc2.weight": (layers, hidden, ffn),
    }.items():
        if name in shapes and shapes[name] != expected:
            return ArgsShapeMismatch(name, shapes[name], expected)
    untied = args["untie_embeddings_and_output_weights"]
    if EMBEDDING in shapes and untied is not ("output_layer.weight" in shapes):
        return ArgsTyingMismatch(untied)
    return None


def trained_differences(trained: Namespace, release: Namespace) -> dict[str, tuple[Any, Any]]:
    """Compare the args of a trained checkpoint with those of its release: the computation and the context length.

    Args:
        trained: Args of the checkpoint, with the rope scaling factor that the training applied.
        release: Args of the release.

    Returns:
        Value and the release's value of each argument that differs.
    """
    differences = differing_arguments(trained, release)
    lengths = tuple(getattr(args, "max_position_embeddings", None) for args in (trained, release))
    if lengths[0] != lengths[1]:
        differences["max_position_embeddings"] = (lengths[0], lengths[1])
    return differences


def describe_training(args: dict[str, Any], release: dict[str, Any], metadata: Metadata | None) -> list[Finding]:
    """Compare the args of a trained checkpoint with those of its release, as an export does."""
    trained, expected = Namespace(**args), Namespace(**release)
    try:
        check_args(trained)
    except ArgsError as error:
        return [FailedStep("An export fails", error)]
    notes: list[Finding] = []
    try:
        trained.rope_scaling_factor = applied_rope_scaling_factor(trained)
    except UnknownRopeFactorError as error:
        notes.append(UnrecordedRopeFactor(error.factor))
        trained.rope_scaling_factor = release.get("rope_scaling_factor")
    if differences := trained_differences(trained, expected):
        notes.append(ChangedArgs(differences))
    if metadata is not None and EMBEDDING in metadata.tensors and release.get("vocab_size"):
        try:
            exported_vocab_size(trained, release, metadata.tensors[EMBEDDING].shape[0])
        except ValueError as error:
            notes.append(FailedStep(None, error))
    return notes
