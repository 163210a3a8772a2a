"""Every supported function is planned, explained in every notation, checked and searched for NaN: none crashes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import supported

import wengert as wg
from wengert.explanation import explain


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(("f", "args"), supported.EACH)
def test_is_planned_and_explained(f, args):
    plan = wg.plan(f)(*args)
    assert "passes" in f"{plan.reason} {plan._repr_html_()}"
    if np.asarray(f(*args)).dtype.kind == "c":
        with pytest.raises(wg.errors.UnsupportedError, match="real and imaginary parts"):
            explain(f)(*args)
        return
    explanation = explain(f)(*args)
    assert explanation.derivation.plan == plan
    for text in (str(explanation), explanation.latex(values=True), explanation.markdown(), explanation._repr_latex_()):
        assert "Comparison" in text or text.startswith("$$")
        assert " at 0x" not in text
        assert text.count("{") == text.count("}")


@pytest.mark.parametrize(("f", "args"), supported.EACH)
def test_is_checked_and_searched(f, args):
    wg.why_nan(f)(*args)
    if np.asarray(f(*args)).dtype.kind == "c":
        with pytest.raises(wg.errors.ResultError, match="complex128; derivatives are checked of real ones"):
            wg.check_derivatives(f)(*args)
        return
    assert str(wg.check_derivatives(f)(*args))
