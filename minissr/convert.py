"""`python -m minissr.convert KERAS.h5 --out X.safetensors`: the authors' weights as ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from minissr import cli
from minissr.errors import MinissrError

EXAMPLE = """example:
  python -m minissr.convert ssrnet_3_3_3_64_1.0_1.0.h5 --out imdb.safetensors
  python -m minissr.predict photo.jpg --weights imdb.safetensors

Read are the files of SSR-Net's authors (github.com/shamangary/SSR-Net, pre-trained/) and others of
the same networks: SSR-Net for age and for gender, MobileNet, DenseNet. Which one a file is, its
arrays tell; each must have a place, and none may be missing. Needs h5py."""


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m minissr.convert",
        description="Turn a Keras file of SSR-Net's authors into a checkpoint.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("keras", metavar="KERAS.h5", help="weights, or a whole model, as HDF5")
    parser.add_argument("--out", metavar="X.safetensors", required=True, help="what to write")
    parser.add_argument("--male", type=int, choices=(0, 1),
                        help="which end of a network for gender is male: 1 in the files for IMDB "
                        "and WIKI, 0 in that for MORPH [1]")  # fmt: skip
    parser.add_argument("--licence", metavar="TEXT", help="of the weights, kept in the checkpoint")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    args = build_parser().parse_args(argv)
    if Path(args.out).suffix != ".safetensors":
        raise MinissrError(f"--out {args.out}; expected a name that ends in .safetensors")
    from minissr.training.checkpoint import save_checkpoint
    from minissr.training.from_keras import keras_checkpoint

    checkpoint = keras_checkpoint(args.keras, 1 if args.male is None else args.male)
    about = checkpoint.metadata
    if args.male is not None and "scale" not in about:
        raise MinissrError(
            f"--male is of networks for gender and {args.keras} is {about['converted']['kind']}; "
            "leave it out"
        )
    if args.licence:
        about["licence"] = args.licence
    save_checkpoint(args.out, checkpoint.tensors, about)
    numbers = sum(array.size for array in checkpoint.tensors.values())
    found = about["converted"]
    print(f"{args.keras} is {found['kind']}: {found['arrays']} arrays, {numbers:,} numbers")
    if found["left_out"]:
        print(f"left out are {found['left_out']} arrays of its optimiser")
    if "scale" in about:
        zero, one = about["scale"]
        print(f"its answers go from 0, {zero}, to 1, {one}")
    print(f"wrote {args.out}; try: python -m minissr.predict PICTURE --weights {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
