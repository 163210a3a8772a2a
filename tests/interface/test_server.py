"""The local server: formulas that are typed are explained, wrong ones pointed at, and strangers are not answered."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from urllib.parse import urlencode

import browser as browsers
import numpy as np
import pytest

import wengert as wg
from wengert.server import FIRST, answer

pytestmark = [
    pytest.mark.filterwarnings("ignore::wengert.errors.DomainWarning"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Start the command, and return where it serves a function of a file."""
    pytest.importorskip("uvicorn")
    file = tmp_path_factory.mktemp("served") / "model.py"
    file.write_text(
        textwrap.dedent(
            """
            import numpy as np
            example = (np.array([0.5, 2.0]),)
            def model(x):
                return x[0] * np.exp(x[1])
            """
        )
    )
    command = [sys.executable, "-m", "wengert", "serve", "--no-open", f"{file}:model"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()
            process.communicate(timeout=20)


def fetch(address, headers=None, **query):
    request = urllib.request.Request(f"{address}?{urlencode(query)}" if query else address, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def test_the_function_of_the_file_is_explained_first(address):
    status, page, headers = fetch(address)
    assert status == 200
    assert "model: the chain rule, step by step" in page
    assert headers["Cache-Control"] == "no-store"


def test_it_listens_on_this_machine_alone(address):
    assert address.startswith("http://127.0.0.1:")
    assert fetch(address, {"Host": "evil.example"})[0] == 400
    assert fetch(address, {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert fetch(address, {"Sec-Fetch-Site": "same-origin"})[0] == 200


def test_a_formula_is_typed_and_explored_in_the_browser(address, browser):
    watched = browsers.Watched(browser)
    page = watched.page
    page.goto(address)
    page.fill("[name=formula]", "x1*(x2 - x3), x3*log(1 - x1)")
    page.fill("[name=at]", "0.5, 2, 3")
    page.click("form.formula button")
    page.wait_for_selector("#slide-table tbody tr:nth-child(8)")
    cells = page.locator("#jacobian-table td[data-value]")
    page.wait_for_selector("#jacobian-table td[data-value]")
    entries = [float(cells.nth(k).get_attribute("data-value")) for k in range(cells.count())]

    def reference(x):
        return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])

    assert entries == pytest.approx(wg.jacobian(reference)(np.array([0.5, 2.0, 3.0])).ravel().tolist())
    assert watched.errors == []
    page.fill("[name=formula]", "x1*(x2 - x3), x3*lgo(1 - x1)")
    page.click("form.formula button")
    wrong = page.text_content("#wrong").splitlines()
    assert "at character 18" in wrong[0]
    assert wrong[1][wrong[2].index("^") :].startswith("lgo")
    assert page.get_attribute("[name=formula]", "aria-invalid") == "true"
    assert page.input_value("[name=formula]") == "x1*(x2 - x3), x3*lgo(1 - x1)"
    assert all(url.startswith(address) for url in watched.requests)
    page.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"formula": "x1*(x2"}, "closing parenthesis is missing"),
        ({"formula": "x1 + x2", "at": "1"}, "2 variables, x_1, x_2"),
        ({"formula": "x1", "at": "one"}, "&#x27;one&#x27; is no number"),
        ({"formula": "x1", "at": "nan"}, "finite number"),
        ({"formula": "__import__('os')"}, "character"),
        ({"formula": "x.real"}, "character"),
        ({"formula": "3"}, "no variable"),
        ({"formula": "+".join(f"x{k}" for k in range(1, 60))}, "59 variables"),
        ({"formula": "<script>alert(1)</script>"}, "&lt;script&gt;"),
        ({"formula": "x" * 3000}, "character"),
    ],
)
def test_what_cannot_be_explained_is_told(query, words):
    status, page = answer(None, query)
    assert status == 400
    assert words in page
    assert "<script>alert" not in page


def test_without_a_formula_the_example_of_the_text_is_explained():
    status, page = answer(None, {})
    assert status == 200
    assert f'value="{FIRST}"' in page
    assert 'value="0.5 2 3"' in page


@pytest.mark.parametrize("formula", ["x^2", "sin(x)/x, cos(x)", "max(a, b)*a", "|x - 1|", "log(-x)", "1/(x - x)"])
def test_any_formula_has_a_page(formula):
    assert answer(None, {"formula": formula})[0] == 200
