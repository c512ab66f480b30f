"""`python -m benchmarks.run`: measure minissr beside the frameworks that are installed."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, results
from benchmarks.peers import BY_NAME, PEERS
from minissr import cli
from minissr.errors import MinissrError

EXAMPLE = """example:
  pip install '.[bench]'
  python -m benchmarks.run --only training,inference
  python -m benchmarks.report

Each peer is measured in a process of its own, after its answers were compared with ours, and all
take turns in every round. A peer that isn't installed is reported as missing. Let nothing else run
meanwhile. Parts that are measured again replace the older ones in the results file."""

# Name -> where its `measure(setup)` is. In the order they are run.
SUITES = {
    "training": ("speed", "measure_training"),
    "inference": ("speed", "measure_inference"),
    "kernels": ("kernels", "measure"),
    "memory": ("memory", "measure"),
    "threads": ("scaling", "measure_threads"),
    "images": ("scaling", "measure_images"),
    "command": ("command", "measure"),
    "startup": ("startup", "measure"),
}
TRAINING, INFERENCE = (50, 128), (1, 8, 64)
LARGEST = 128


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = cli.Parser(
        prog="python -m benchmarks.run",
        description="Measure minissr beside PyTorch, TensorFlow, JAX and inference runtimes.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(SUITES)} [all]")
    parser.add_argument(
        "--peers",
        metavar="NAMES",
        help=f"of {','.join(e.name for e in PEERS)} [all but numpy]; minissr is always there",
    )
    parser.add_argument("--batches", metavar="N,N", help="only these batch sizes [50,128; 1,8,64]")
    parser.add_argument(
        "--rounds", metavar="N", default="9", help="how many, 7 or more to quote [9]"
    )
    parser.add_argument(
        "--seconds", metavar="X", default="0.5", help="of a peer's turn in a round [0.5]"
    )
    parser.add_argument("--threads", metavar="N", default="2", help="for everybody [2]")
    parser.add_argument("--variant", metavar="NAME", default="minissr", help="of SSR-Net [minissr]")
    parser.add_argument("--quick", action="store_true", help="2 short rounds, to see that it works")
    parser.add_argument(
        "--out", metavar="FILE", help="results, merged [benchmarks/results/DATE.json]"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 or raises what `cli.run` turns into a sentence."""
    options = build_parser().parse_args(argv)
    chosen = listed("--only", options.only, SUITES) or list(SUITES)
    names = listed("--peers", options.peers, BY_NAME)
    entries = [e for e in PEERS if wanted(e.name, names)]
    rounds = 2 if options.quick else whole("--rounds", options.rounds, 1)
    seconds = 0.05 if options.quick else above_0("--seconds", options.seconds)
    threads = whole("--threads", options.threads, 1)
    if threads > (machine.describe()["cores"] or 1):
        raise MinissrError(f"--threads {threads}; this machine has {machine.describe()['cores']}")
    training, inference = batch_sizes(options.batches)
    out = Path(options.out) if options.out else default_file()
    results.refuse_other_machine(out)

    from benchmarks import workload
    from benchmarks.suites import Setup

    with tempfile.TemporaryDirectory(prefix="minissr-bench-") as folder:
        say("drawing faces and computing the right answers")
        made = workload.make(Path(folder), options.variant, tuple(training))
        setup = Setup(
            made, entries, training, inference, rounds, seconds, threads, options.quick, say
        )
        for name in chosen:
            for part, content in suite(name)(setup):
                results.merge(out, {part: content})
                say(f"{part}: written to {out}")
    print(f"{out}: python -m benchmarks.report {out}")
    return 0


def suite(name: str) -> Any:
    """The function that measures it."""
    import importlib

    module, function = SUITES[name]
    return getattr(importlib.import_module(f"benchmarks.suites.{module}"), function)


def wanted(name: str, names: list[str] | None) -> bool:
    """Whether a peer takes part; NumPy is orders of magnitude slower, so only if it is named."""
    return name == "minissr" or (name in names if names else name != "numpy")


def listed(flag: str, text: str | None, known: Any) -> list[str] | None:
    """Names with commas between, each a known one."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise MinissrError(f"{flag} {name}; expected some of {', '.join(known)}")
    if not names:
        raise MinissrError(f"{flag} is empty; expected some of {', '.join(known)}")
    return names


def whole(flag: str, text: str, low: int) -> int:
    """A whole number of at least `low`."""
    if not text.isdecimal() or int(text) < low:
        raise MinissrError(f"{flag} {text}; expected a whole number from {low} up")
    return int(text)


def above_0(flag: str, text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise MinissrError(f"{flag} {text}; expected a number above 0")
    return number


def batch_sizes(text: str | None) -> tuple[list[int], list[int]]:
    """Those of training and of inference that were chosen."""
    if text is None:
        return list(TRAINING), list(INFERENCE)
    sizes = [whole("--batches", size.strip(), 1) for size in text.split(",")]
    if max(sizes) > LARGEST:
        raise MinissrError(f"--batches {max(sizes)}; expected at most {LARGEST}")
    training = [size for size in sizes if size in TRAINING]
    inference = [size for size in sizes if size in INFERENCE]
    others = [size for size in sizes if size not in TRAINING + INFERENCE]
    return training + [size for size in others if size > 1], inference + others


def default_file() -> Path:
    """A file for today."""
    return results.RESULTS / f"{datetime.date.today().isoformat()}.json"


def say(words: str) -> None:
    """Tell how far it is, on standard error."""
    now = datetime.datetime.now().strftime("%H:%M:%S")
    print(f"{now}  {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
