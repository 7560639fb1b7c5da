from __future__ import annotations

import negmine
import numpy as np
from negmine.cli.mine_options import Sampling
from negmine.cli.session import plain


def test_values_of_the_sdk_as_json_has_them() -> None:
    mark = negmine.Watermark("i", 0, (1, 2))
    assert plain({"mark": mark, 3: (np.float32(0.5), float("nan"), np.int64(4))}) == {
        "mark": {"incarnation": "i", "epoch": 0, "sequences": [1, 2]},
        "3": [0.5, None, 4],
    }
    assert plain(np.array([[1.0, np.inf]])) == [[1.0, None]]
    assert plain(frozenset({"b", "a"})) == ["a", "b"]
    assert plain(Sampling.TOP) == "top"
