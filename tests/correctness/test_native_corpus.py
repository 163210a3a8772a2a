"""The functions of the corpus and their derivatives by machine code, from the first call that can: values agree."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from corpus import CORPUS

import wengert as wg
from wengert import trees

pytestmark = [
    pytest.mark.usefixtures("native_after_one_call"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.mark.parametrize("name", CORPUS)
def test_machine_code_computes_the_same(name):
    case = CORPUS[name]
    for kind in ("function", *case.kinds):
        function = case.function_of(kind)
        try:
            expected = function(*copy.deepcopy(case.args))
        except wg.errors.WengertError:
            continue
        jitted = wg.jit(function)
        for _ in range(3):
            returned = jitted(*copy.deepcopy(case.args))
        for value, own in zip(trees.flatten(returned)[0], trees.flatten(expected)[0], strict=True):
            np.testing.assert_allclose(value, own, rtol=1e-9, atol=1e-11, err_msg=kind)
