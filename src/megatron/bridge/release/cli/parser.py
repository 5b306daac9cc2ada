# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The arguments of the command line."""

import argparse
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

from megatron.bridge.release.cli.check import run_check
from megatron.bridge.release.cli.export import run_export
from megatron.bridge.release.cli.importing import run_import
from megatron.bridge.release.cli.launch import run_launch
from megatron.bridge.release.cli.repair import run_repair
from megatron.bridge.release.export.output_dir import file_size
from megatron.bridge.release.layout import DTYPES, RELEASE
from megatron.bridge.release.verify.launch import SEQ_LENGTH


_NAME = "megatron-bridge-release"
_SUCCESS = {
    "import": "success; the release loads",
    "check": "the checkpoint loads, and no differences were found",
}
_FAILURE = {
    "import": "refused or failed, or the release does not load: the output names the problem and what to do",
    "check": "the checkpoint does not load, or differs from the model: the output names the problem and what to do",
}
_NO_LOGIT_CHECK = "  3    check --compute: the checkpoint loads, but this host cannot run the logit check\n"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser. `run` in its options is the function that runs the command and returns the exit status."""
    program = _program()
    parser = argparse.ArgumentParser(
        prog=program,
        description="Convert Hugging Face models to release checkpoints of Megatron-LM, and back.",
        epilog=_exit_status(""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def add(name: str, text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  {program} {name} {example}\n\n{_exit_status(name)}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # No abbreviations: a misspelt --overwrite must be an error.
            allow_abbrev=False,
        )
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            help="show the output of torch, transformers and Megatron on stderr",
        )
        command.set_defaults(parser=command, advice="")
        return command

    _add_import(add("import", "import a Hugging Face model as a release", "meta-llama/Llama-3.2-1B ckpt"))
    _add_export(add("export", "write a checkpoint as a Hugging Face model", "ckpt meta-llama/Llama-3.2-1B my-llama"))
    _add_check(
        add(
            "check",
            "report whether a checkpoint is complete, which versions load it, and how to start Megatron-LM from it",
            "ckpt --compute meta-llama/Llama-3.2-1B",
        )
    )
    launch = add("launch", "print the command that starts Megatron-LM from a checkpoint", "ckpt --format yaml")
    launch.description = (
        "Print the command that starts Megatron-LM from a checkpoint: the flags of the model and its tokenizer, sequences of "
        f"at most {SEQ_LENGTH} tokens, no evaluation, and a save every 500 iterations if you add --save. Append your own "
        "flags to the printed command. They override the printed ones."
    )
    _add_root(launch)
    launch.add_argument(
        "--format",
        choices=("shell", "yaml"),
        default="shell",
        help="shell (default): one line, for $(...) in the directory of Megatron-LM; yaml: the flags as MODEL_ARGS, for launchers",
    )
    _add_release(launch)
    launch.set_defaults(run=run_launch, advice=f". Append your own flags after $({program} launch CKPT)")
    repair = add(
        "repair", "convert a default import of Megatron-Bridge, renamed or not, to a release", "ckpt --dry-run"
    )
    _add_root(repair)
    repair.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    repair.set_defaults(run=run_repair)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Parse a command line. An error shows the usage of its command."""
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{options.advice}")
    return options


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("hf_model", metavar="HF_MODEL", help="Hugging Face model ID, or local directory of a model")
    command.add_argument("out", type=_path, metavar="CKPT", help="checkpoint directory to write")
    _add_revision(command)
    command.add_argument("--overwrite", action="store_true", help="replace the release in CKPT")
    command.add_argument("--trust-remote-code", action="store_true", help="run the model's own Python code")
    command.add_argument("--dtype", choices=DTYPES, help="dtype of the release (default: that of config.json)")
    command.add_argument("--no-logit-check", action="store_true", help="skip the logit check after the import")
    command.add_argument(
        "--allow-unused-tensors",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="skip tensors that Megatron-LM has no parameter for if their names match, such as '*.q_norm.weight'",
    )
    command.add_argument(
        "--allow-config-fields",
        nargs="+",
        default=[],
        metavar="FIELD",
        help="ignore these config fields although Megatron-LM cannot represent them; its outputs will differ",
    )
    command.set_defaults(run=run_import)


def _add_export(command: argparse.ArgumentParser) -> None:
    _add_root(command)
    command.add_argument(
        "hf_model",
        metavar="HF_MODEL",
        help="model that the checkpoint was imported from; its config and tokenizer are exported",
    )
    command.add_argument("out", type=_path, metavar="OUT", help="output directory, which must be new or empty")
    _add_revision(command, "the commit that the release records")
    command.add_argument("--trust-remote-code", action="store_true", help="run the model's own Python code")
    command.add_argument(
        "--iteration",
        type=_iteration,
        metavar="N",
        help="iteration to export, or 'release' (default: the one that the tracker names)",
    )
    _add_release(command)
    command.add_argument("--dtype", choices=DTYPES, help="dtype of the tensors (default: the checkpoint's)")
    command.add_argument(
        "--max-shard-size",
        type=_file_size,
        metavar="SIZE",
        help="maximum size of a weight file, such as 5GB (default: the same files as HF_MODEL)",
    )
    command.add_argument(
        "--tokenizer",
        type=_path,
        metavar="DIR",
        help="directory of the tokenizer, if the training extended the vocabulary (default: HF_MODEL)",
    )
    command.add_argument(
        "--rope-scaling-factor",
        type=float,
        metavar="FACTOR",
        help="rope scaling factor of the training, if the checkpoint does not record it",
    )
    command.set_defaults(run=run_export)


def _add_check(command: argparse.ArgumentParser) -> None:
    _add_root(command)
    for flag, work in {
        "--made-of": "verify that the checkpoint was imported from this model",
        "--deep": "compare every tensor with that of this model, bit by bit",
        "--compute": "logit check: compare the logits of the release in Megatron-LM with those of this model in transformers",
    }.items():
        command.add_argument(flag, metavar="HF_MODEL", help=work)
    _add_revision(command, "the commit that the release records")
    command.set_defaults(run=run_check)


def _add_revision(command: argparse.ArgumentParser, default: str = "the default branch") -> None:
    command.add_argument(
        "--revision", help=f"branch, tag or commit of HF_MODEL on the Hugging Face Hub (default: {default})"
    )


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path",
        type=_path,
        metavar="CKPT",
        help="checkpoint directory, which contains latest_checkpointed_iteration.txt",
    )


def _add_release(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--release",
        type=_path,
        metavar="CKPT",
        help="checkpoint directory that the training started from, if it saved to another one",
    )


def _iteration(text: str) -> int | str:
    if text == RELEASE:
        return text
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither an iteration number nor '{RELEASE}'")
    return int(text)


def _file_size(text: str) -> int:
    try:
        return file_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _path(text: str) -> Path:
    """Return a path with ``~`` expanded, which a shell does not do inside quotes."""
    if not text:
        # An unset variable of the shell. Path("") would be the current directory.
        raise argparse.ArgumentTypeError("'' is not a path")
    return Path(os.path.expanduser(text))


def _exit_status(command: str) -> str:
    """Return the table of exit statuses of a command; of all commands for an empty string."""
    return (
        "exit status:\n"
        f"  0    {_SUCCESS.get(command, 'success')}\n"
        f"  1    {_FAILURE.get(command, 'refused or failed: the error names the problem and what to do')}\n"
        "  2    invalid command line\n"
        f"{_NO_LOGIT_CHECK if command in ('check', '') else ''}"
        "  130  interrupted\n"
        "  141  the reader of the output closed it early\n"
    )


def _program() -> str:
    """Return the command as it was called."""
    called = Path(sys.argv[0]).name
    return _NAME if called == _NAME else "python -m megatron.bridge.release"


def _version() -> str:
    here = version("megatron-bridge")
    return f"{_NAME} {here} (Megatron-Bridge {here.partition('+')[0]})"
