"""How many of ONNX's own cases pass, an operator a line: `python -m tests.conformance`."""

from __future__ import annotations

from tests.conformance.adapter import OPERATORS
from tests.conformance.cases import every_case
from tests.conformance.table import counts
from tests.conftest import CPU_BACKENDS


def main() -> None:
    cases = every_case()
    print(f"{'':24}{'cases':>6}{'counted':>9}", *(f"{b:>8}" for b in CPU_BACKENDS))
    for operator in (*OPERATORS, "all"):
        chosen = [case for case in cases if operator in (case.operator, "all")]
        counted = [case for case in chosen if counts(case)]
        passed = [sum(c.trouble(b) is None for c in counted) for b in CPU_BACKENDS]
        print(f"{operator:24}{len(chosen):6}{len(counted):9}", *(f"{n:8}" for n in passed))


if __name__ == "__main__":
    main()
