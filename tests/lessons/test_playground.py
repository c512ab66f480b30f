"""The playground's formula against the package's, and the page in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lessons.source import FOLDER
from minissr import Tensor
from minissr.ops.stagewise import SoftStagewiseRegression

PAGE = FOLDER / "playground.html"
CASES = [((3, 3), 90.0), ((3, 3, 3), 101.0), ((9,), 101.0), ((5, 2, 2), 90.0)]
ACTIONS = """<script>
byId("eta-1").value = 0.5;
byId("eta-1").dispatchEvent(new Event("input"));
const after_slider = document.body.dataset.told;
const loss = () => Math.abs(JSON.parse(document.body.dataset.told).age
  - JSON.parse(document.body.dataset.state).target);
const losses = [loss()];
for (let i = 0; i < 5; i++) { byId("step").click(); losses.push(loss()); }
byId("normal").click();
const sums = JSON.parse(document.body.dataset.state).p;
byId("fixed").click();
document.body.dataset.tried = JSON.stringify({ after_slider: JSON.parse(after_slider), losses, sums,
  arrows: document.querySelectorAll(".arrow").length,
  state: JSON.parse(document.body.dataset.state) });
</script></body>"""


def case(stages: tuple[int, ...], V: float, seed: int) -> dict[str, Any]:
    """Inputs of one face; one stage of the last seed is below the floor."""
    rng = np.random.default_rng(seed)
    p = np.concatenate([rng.dirichlet(np.ones(s)) for s in stages])
    eta, delta = rng.uniform(-1, 1, len(p)), rng.uniform(-0.9, 1, len(stages))
    if seed == 2:
        delta[-1] = -0.9995
    values = {"p": p, "eta": eta, "delta": delta}
    return {"stages": list(stages), "V": V} | {k: v.round(6).tolist() for k, v in values.items()}


def by_minissr(case: dict[str, Any]) -> dict[str, Any]:
    """What the page's function should return."""
    inputs = [Tensor(np.float64([case[n]]), requires_grad=True) for n in ("p", "eta", "delta")]
    age, (width, index) = SoftStagewiseRegression.apply_with_extra(
        *inputs, stages=case["stages"], min_age=0.0, max_age=case["V"], c_delta=1.0, c_eta=1.0,
        floor=1e-3,
    )  # fmt: skip
    age.backward(np.ones(1))
    gp, geta, gdelta = (x.grad[0] for x in inputs)
    return {"age": age.data[0], "width": width[0], "index": index[0], "gp": gp, "geta": geta,
            "gdelta": gdelta}  # fmt: skip


def agree(told: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        np.testing.assert_allclose(told[name], value, rtol=1e-12, atol=1e-9, err_msg=name)


def test_the_page_needs_no_network() -> None:
    text = PAGE.read_text("utf-8")
    assert not re.search(r"""(?:src|href)\s*=|@import|url\(|fetch\(""", text)
    addresses = re.findall(r"https?://[^\s\"']+", text)
    assert set(addresses) == {"http://www.w3.org/2000/svg"}  # a name, not a place


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_formula_is_the_packages(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    script = re.search(r'<script id="formula">(.*?)</script>', text, re.DOTALL)
    assert script
    cases = [case(stages, V, seed) for stages, V in CASES for seed in range(3)]
    (tmp_path / "formula.js").write_text(script[1])
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    program = """
        const { stagewise } = require("./formula.js");
        const cases = require("./cases.json");
        const told = cases.map((c) => stagewise(c.p, c.eta, c.delta, c.stages, c.V));
        console.log(JSON.stringify(told));
    """
    done = subprocess.run(["node", "-e", program], cwd=tmp_path, capture_output=True, text=True,
                          check=True, timeout=60)  # fmt: skip
    for given, told in zip(cases, json.loads(done.stdout), strict=True):
        agree(told, by_minissr(given))


BROWSER = next(
    (
        p
        for n in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (p := shutil.which(n))
    ),
    None,
)


def open_page(page: Path, case: dict[str, Any], home: Path) -> dict[str, Any]:
    """Load the page in the browser; what its body's data say when its scripts have run."""
    assert BROWSER
    state = "&".join(f"{k}={','.join(map(str, np.atleast_1d(v)))}" for k, v in case.items())
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu",
         "--disable-background-networking", f"--user-data-dir={home}",
         "--virtual-time-budget=2000", "--dump-dom", f"{page.as_uri()}#{state}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    body = re.search(r"<body[^>]*>", done.stdout)
    assert body, done.stderr
    data = re.findall(r'data-(\w+)="([^"]*)"', body[0])
    return {name: json.loads(html.unescape(value)) for name, value in data}


needs_browser = pytest.mark.skipif(not BROWSER, reason="no Chromium or Chrome is installed")

LISTS = """<script>
document.body.dataset.lists = JSON.stringify([byId("stages").value, byId("V").value]);
</script></body>"""


@needs_browser
@pytest.mark.parametrize(
    ("link", "lists"),
    [
        ({"stages": (4, 2), "V": 60}, ["4,2", "60"]),
        ({"stages": (3, -1), "V": 0}, ["3,3,3", "101"]),  # not allowed: as without a link
        ({"stages": "many", "V": "high", "p": "x", "target": "?"}, ["3,3,3", "101"]),
    ],
)
def test_a_link_sets_the_lists(tmp_path: Path, link: dict[str, Any], lists: list[str]) -> None:
    page = tmp_path / "playground.html"
    page.write_text(PAGE.read_text("utf-8").replace("</body>", LISTS))
    data = open_page(page, link, tmp_path / "home")
    assert data["lists"] == lists
    assert data["state"]["stages"] == [int(s) for s in lists[0].split(",")]
    assert data["state"]["V"] == int(lists[1])
    assert np.isfinite(data["told"]["age"])


@needs_browser
def test_in_a_browser(tmp_path: Path) -> None:
    given = case((3, 3, 3), 101.0, 0) | {"target": 30}
    page = tmp_path / "playground.html"
    page.write_text(PAGE.read_text("utf-8").replace("</body>", ACTIONS))
    data = open_page(page, given, tmp_path / "home")
    tried = data["tried"]

    moved = given | {"eta": [given["eta"][0], 0.5, *given["eta"][2:]]}
    agree(tried["after_slider"], by_minissr(moved))
    assert tried["losses"][-1] < 0.5 * tried["losses"][0]
    np.testing.assert_allclose(np.reshape(tried["sums"], (3, 3)).sum(axis=1), 1)
    assert tried["arrows"] > 3
    assert not any(tried["state"]["eta"] + tried["state"]["delta"])
    agree(data["told"], by_minissr(tried["state"]))
