"""Sources compile without a device, and say why where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cuda.bindings")

from negmine_server.device.compiler import compile_cubin
from negmine_server.device.program import Kernel
from negmine_server.errors import DeviceFailed


def test_the_machine_code_of_a_source_holds_its_kernels() -> None:
    cubin = compile_cubin(Kernel(Path(__file__).with_name("machine_kernels.cu"), "copy", 64), "sm_90")
    assert cubin.startswith(b"\x7fELF")
    assert b".text.copy" in cubin
    assert b".text.multiply" in cubin


def test_macros_are_seen(tmp_path: Path) -> None:
    source = tmp_path / "macro.cu"
    source.write_text("#if WORDS != 4\n#error not seen\n#endif\n")
    compile_cubin(Kernel(source, "none", 32, macros=(("WORDS", 4),)), "sm_80")
    with pytest.raises(DeviceFailed, match="not seen"):
        compile_cubin(Kernel(source, "none", 32), "sm_80")


def test_a_source_that_does_not_compile_is_reported_with_the_log(tmp_path: Path) -> None:
    source = tmp_path / "broken.cu"
    source.write_text(
        '#include "machine.cuh"\nKERNEL(32, 1) broken(const void* argument, int number) { nonsense(); }\n'
    )
    with pytest.raises(DeviceFailed, match=r"broken\.cu\(2\).*nonsense"):
        compile_cubin(Kernel(source, "broken", 32), "sm_90")


def test_machine_code_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "made.cubin").write_bytes(b"code")
    assert compile_cubin(Kernel(tmp_path / "made.cubin", "made", 32), "sm_90") == b"code"
