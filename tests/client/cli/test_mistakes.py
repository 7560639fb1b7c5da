from __future__ import annotations

import negmine
import pytest
from negmine.cli.mistakes import one_line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (negmine.Overloaded("the queue holds 64"), "h:1 is overloaded: the queue holds 64; try again later"),
        (negmine.StorageFailed("cannot write"), "cannot write"),
        (negmine.Unavailable("refused"), "no answer from h:1: refused; is negmine-server running there? --target"),
        (negmine.DeadlineExceeded("late"), "h:1 did not finish within 2 s: late; raise --timeout"),
        (negmine.NotFound("no collection 'x'"), "no collection 'x'; `negmine list`"),
        (negmine.Unauthenticated("no token"), "h:1 refused the credentials: no token; give --token"),
        (negmine.Unimplemented("softmax"), "h:1 does not serve this: softmax; `negmine info`"),
        (negmine.Internal("oops"), "h:1 failed: oops; its log says more"),
        (negmine.InvalidInput("spec.dimension is 0; expected 1 to 8192"), "--dimension is 0; expected 1 to 8192"),
        (negmine.InvalidInput("spec.bits is 100"), "--bits is 100"),
        (negmine.InvalidInput("spec.shards is 3"), "--shards is 3"),
        (negmine.InvalidInput("version.step is 9, more than 5 steps"), "--step is 9, more than 5 steps"),
        (
            negmine.InvalidInput("version.generation is 2; the current one is 0: call StartGeneration first"),
            "--generation is 2; the current one is 0: call `negmine generation start NAME` (StartGeneration) first",
        ),
        (negmine.InvalidInput("conversion.step, spec.bits_kept"), "conversion.step, spec.bits_kept"),
        (negmine.DataLoss("log 3\nis  corrupt"), "log 3 is corrupt"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(error: negmine.NegmineError, said: str) -> None:
    line = one_line(error, "h:1", 2.0)
    assert line.startswith(said)
    assert "\n" not in line
