"""The cases with which ONNX itself defines its operators, on every backend.

Every case passes or stands in `table.py`; one in neither fails here, and so does one in both.
What passed: `python -m tests.conformance`. What they don't tell: their convolutions have one
channel and kernels of ones, their Adam no bias correction; PyTorch's and our own tests do.
"""

from __future__ import annotations

import pytest

from tests.conformance.adapter import OPERATORS
from tests.conformance.cases import every_case
from tests.conformance.table import REASON_OF, TABLE, VERSION, counts
from tests.conftest import CPU_BACKENDS

onnx = pytest.importorskip("onnx", reason="onnx brings the cases: pip install '.[onnx]'")


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_every_case_passes_or_is_in_the_table(operator: str, backend: str) -> None:
    cases = [case for case in every_case() if case.operator == operator]
    assert cases, f"onnx {onnx.__version__} has no case of {operator}"
    wrong = []
    for case in cases:
        trouble = case.trouble(backend)
        if trouble and case.name not in REASON_OF:
            wrong.append(f"{case.name}: {trouble}; mend it, or give a reason in table.py")
        if not trouble and case.name in REASON_OF:
            wrong.append(f"{case.name} passes; take it out of table.py")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_nearly_all_of_what_we_set_out_to_do_passes(backend: str) -> None:
    """Floats of up to four axes without dilation, ceil mode, argmax, weights, ignored classes."""
    passed = [case.trouble(backend) is None for case in every_case() if counts(case)]
    assert len(passed) > 150
    assert sum(passed) / len(passed) >= 0.97


def test_no_row_of_the_table_is_stale() -> None:
    if not onnx.__version__.startswith(f"{VERSION}."):
        pytest.skip(f"the table is of onnx {VERSION}, this is {onnx.__version__}")
    cases = {case.name: case for case in every_case()}
    names = [name for reason in TABLE for name in reason.cases.split()]
    assert not [name for name in names if name not in cases]
    assert len(names) == len(set(names))
    for name, reason in REASON_OF.items():
        assert reason.outside is None or reason.outside(cases[name]), f"{name}: {reason.why}"
