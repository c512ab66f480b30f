"""`python -m minissr.export CHECKPOINT`: a network for other runtimes, or in fewer bytes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minissr import cli
from minissr.errors import MinissrError

if TYPE_CHECKING:
    from minissr.training.network import Network

EXAMPLE = """example:
  python -m minissr.export runs/utkface --onnx age.onnx
  python -m minissr.export runs/utkface --small age-int8.safetensors --dtype int8

--onnx writes one input, face (N, 64, 64, 3), pixels from 0 to 255, and one output, age (N, 1), in
years; the file's metadata says the rest. Before anything is written, ONNX Runtime, OpenCV and
onnx.reference are asked for ages and compared with the network. --small writes a file that
`predict`, `evaluate` and minissr.load open, and so do ten lines of NumPy (see
minissr/training/small.py). What it costs:
  python -m minissr.evaluate age-int8.safetensors --data DATA --against runs/utkface"""

UNKNOWN_LICENCE = "not stated; it depends on the faces the network was trained on"


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.export",
        description="Write a network for other runtimes (ONNX), or as a small file.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the network; as in evaluate")
    parser.add_argument("--onnx", metavar="X.onnx", help="write an ONNX file")
    parser.add_argument("--small", metavar="X.safetensors", help="write a small weight file")
    parser.add_argument("--dtype", choices=("int8", "float16"), default="int8",
                        help="of the small file's weights [int8]")  # fmt: skip
    parser.add_argument("--input", choices=("uint8", "float32"), default="uint8",
                        help="type of the ONNX input [uint8]")  # fmt: skip
    parser.add_argument("--preprocess", choices=("inside", "outside"), default="outside",
                        help="inside: the ONNX input is RGB; outside: in the order the network "
                        "eats [outside]")  # fmt: skip
    parser.add_argument("--licence", metavar="TEXT", help="of the network, for the metadata")
    parser.add_argument("--data", metavar="synthetic|DATA", default="synthetic",
                        help="faces to compare on [synthetic]")  # fmt: skip
    parser.add_argument("--faces", type=int, default=64, metavar="N", help="how many [64]")
    parser.add_argument("--slow-faces", type=int, default=4, metavar="N",
                        help="how many of them onnx.reference gets; it is slow [4]")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    args = build_parser().parse_args(argv)
    if not args.onnx and not args.small:
        raise MinissrError("nothing to write; name a file with --onnx or --small")
    for option, value in (("--faces", args.faces), ("--slow-faces", args.slow_faces)):
        if value < 1:
            raise MinissrError(f"{option} {value}; expected a whole number above 0")
    if args.small and Path(args.small).suffix != ".safetensors":
        raise MinissrError(f"--small {args.small}; expected a name that ends in .safetensors")
    targets = [target for target in (args.onnx, args.small) if target]
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise MinissrError(f"--onnx and --small both name {args.onnx}; give each its own file")
    from minissr.training.files import check_target, write_atomically
    from minissr.training.network import load_network

    for target in targets:
        check_target(target)
    network = load_network(args.checkpoint)
    for target in targets:
        if os.path.realpath(target) == os.path.realpath(network.path):
            raise MinissrError(f"{target} is the network to be exported; name another file")
    print(f"network  {network.path}")
    if args.licence:
        network.about["licence"] = args.licence
    if args.onnx:
        data = checked_onnx(network, args)
        write_atomically(args.onnx, data)
        print(f"wrote    {args.onnx}, {len(data):,} bytes")
    if args.small:
        from minissr.training.small import small_file

        data = small_file(network.model.state_dict(), network.about, args.dtype)
        write_atomically(args.small, data)
        whole = network.path.stat().st_size
        print(f"wrote    {args.small}, {len(data):,} bytes of {whole:,}, {args.dtype}")
    return 0


def checked_onnx(network: Network, args: argparse.Namespace) -> bytes:
    """The ONNX file's bytes, if every installed runtime agrees with the network."""
    from minissr.exporting.check import TOLERANCE, check
    from minissr.exporting.onnx_file import to_onnx
    from minissr.faces.sample import sample_faces
    from minissr.kernels.backend import use_backend
    from minissr.training.measure import predict_ages

    rgb = args.preprocess == "inside"
    metadata = {
        "checkpoint_sha256": network.sha256,
        "licence": network.about.get("licence", UNKNOWN_LICENCE),
    }
    if network.scale is not None:  # a network for gender
        zero, one = network.scale
        metadata["output"] = f"age (N, 1) float32, in fact from 0 ({zero}) to 1 ({one})"
    data = to_onnx(
        network.model,
        network.preprocessing,
        input_type=args.input,
        rgb=rgb,
        metadata=metadata,
    )
    faces = sample_faces(args.data, args.faces, network.preprocessing.size)
    with use_backend("numpy"):
        ages = predict_ages(network.model, faces, network.preprocessing)
    shown = faces if rgb else network.preprocessing.arrange(faces)
    checks = check(data, shown.astype(args.input), ages, args.slow_faces)
    print("\n".join(f"check    {line}" for line in checks))
    if failed := [line.runtime for line in checks if not line.passed]:
        raise MinissrError(
            f"{args.onnx} was not written: {' and '.join(failed)} should give the network's ages "
            f"within {TOLERANCE:g} years and can't"
        )
    return data


if __name__ == "__main__":
    sys.exit(cli.run(main))
