"""Every supported function is planned and explained in every notation: none crashes (`test_checks` checks each)."""

from __future__ import annotations

import numpy as np
import pytest
from test_checks import one_of_each

import wengert as wg
from wengert.explanation import explain


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "make", "values"), one_of_each())
def test_is_planned_and_explained(name, make, values):
    f, args = make(*values)
    with np.errstate(all="ignore"):
        plan = wg.plan(f)(*args)
        assert "passes" in f"{plan.reason} {plan._repr_html_()}"
        if np.asarray(f(*args)).dtype.kind == "c":
            with pytest.raises(wg.errors.UnsupportedError, match="real and imaginary parts"):
                explain(f)(*args)
            return
        explanation = explain(f)(*args)
        assert explanation.derivation.plan == plan
        for text in (
            str(explanation),
            explanation.latex(values=True),
            explanation.markdown(),
            explanation._repr_latex_(),
        ):
            assert "Comparison" in text or text.startswith("$$")
            assert " at 0x" not in text
            assert text.count("{") == text.count("}")
