"""Programs of one dispatch: its benchmark dump with another configuration, and an entry that sets its data."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from compile import bank_padding, compiler, dispatch_ops
from ireeperf.errors import CompileError
from specs import attribute_text
from specs.match import Match
from specs.record import Setting

COMPILE_SECONDS = 120.0  # a candidate takes one to three
_ENTRY = re.compile(r"util\.func public @(\S+)\(%arg0: i32\)")
_BUFFER = re.compile(r"util\.global private mutable @(\S+) : !hal\.buffer")
_BYTES = re.compile(r"hal\.allocator\.allocate.*: !hal\.buffer\{%c(\d+)\}")
PIPELINE = re.compile(r"translation_info<pipeline = #iree_[cg]pu\.pipeline<(\w+)>")
_STORED = re.compile(r"(?:store_to_buffer|dispatch\.tensor\.store)\b.* : tensor<[\dx?]*x(\w+)>")
_SETTER = """  util.func public @set_buffer(%view: !hal.buffer_view) attributes {{iree.abi.stub}} {{
    %buffer = hal.buffer_view.buffer<%view : !hal.buffer_view> : !hal.buffer
    util.global.store %buffer, @{name} : !hal.buffer
    util.return
  }}
  util.func public @get_part(%offset: i64, %bytes: i64) -> !hal.buffer_view attributes {{iree.abi.stub}} {{
    %start = arith.index_cast %offset : i64 to index
    %length = arith.index_cast %bytes : i64 to index
    %buffer = util.global.load @{name} : !hal.buffer
    %part = hal.buffer.subspan<%buffer : !hal.buffer>[%start, %length] : !hal.buffer
    %type = hal.element_type<i8> : i32
    %encoding = hal.encoding_type<dense_row_major> : i32
    %first = arith.constant 0 : index
    %view = hal.buffer_view.create buffer(%part : !hal.buffer)[%first, %length] shape([%length]) type(%type) encoding(%encoding) : !hal.buffer_view
    util.return %view : !hal.buffer_view
  }}
}}
"""


def entry(benchmark: str) -> tuple[str, int]:
    """Name of the benchmark's function and bytes of its one buffer; CompileError when the dump is of another form."""
    function, size = _ENTRY.findall(benchmark), _BYTES.findall(benchmark)
    if len(function) != 1 or len(size) != 1:
        raise CompileError(f"the benchmark dump has {len(function)} entries and {len(size)} buffers, one each expected; was it made by "
                           "another compiler? compile again with ./compile/precompile.py")
    return str(function[0]), int(size[0])


def with_data(benchmark: str) -> str:
    """The benchmark with `set_buffer`, for it allocates one of zeros, which tell right from wrong of nothing; and `get_part`, some bytes of it."""
    name = _BUFFER.findall(benchmark)[0]
    return benchmark.rstrip().removesuffix("}") + _SETTER.format(name=name)


def stripped(benchmark: str) -> str:
    """Without the configuration that the dump has baked in: an operation that has one keeps it, rc 0 and nothing applied."""
    tool = compiler.compiler_path().with_name("iree-opt")
    done = subprocess.run([str(tool), "-", "--iree-codegen-strip-compilation-info"], input=benchmark, capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise CompileError(f"iree-opt exited with code {done.returncode} stripping the dump: {compiler.diagnose(done.stderr)}")
    return done.stdout


def configured(text: str, match: Match, setting: Setting, target: str) -> str:
    """`text` (stripped) with `setting` on the operation of `match`, in the form in which a rendered spec leaves it."""
    from iree.compiler import ir
    with ir.Context():
        module = ir.Module.parse(text)
        found = [one for one in dispatch_ops.walk(module.operation) if (read := dispatch_ops.read(one)) is not None and read.match == match]
        if len(found) != 1:
            raise CompileError(f"{len(found)} operations of the dump are {match.name}, one expected")
        found[0].attributes["compilation_info"] = ir.Attribute.parse(attribute(setting, target))
        if setting.decomposition:
            found[0].attributes["decomposition_config"] = ir.Attribute.parse(attribute_text.decomposition(setting.decomposition, target))
        return str(module)


def attribute(setting: Setting, target: str) -> str:
    """compilation_info as text, as a rendered spec has it."""
    return (f"#iree_codegen.compilation_info<lowering_config = {attribute_text.lowering_config(setting.lowering_config, target)}, "
            f"translation_info = {attribute_text.translation_info(setting, target)}>")


def stored(configured_text: str) -> set[str]:
    """Element types of what a dispatch writes."""
    return set(_STORED.findall(configured_text))


def build(text: str, folder: Path, flags: Sequence[str]) -> Path:
    """Compile one program into `folder`; CompileError with the compiler's first error, or when it does not end: some tiles unroll without measure
    (candidates for two reductions in one dispatch were still being compiled after 43 and 67 CPU-seconds)."""
    folder.mkdir(parents=True)
    source, output = folder / "program.mlir", folder / "program.vmfb"
    source.write_text(text)
    command = [str(compiler.compiler_path()), str(source), *flags, "-o", str(output)]
    if not bank_padding.marked(text):
        _run(command, output)
        return output
    configured = folder / "configured.mlir"
    _run([*command[:-1], str(configured), f"--compile-to={bank_padding.PHASE}"], configured)
    configured.write_text(bank_padding.padded(configured.read_text()))
    _run([command[0], str(configured), *command[2:], f"--compile-from={bank_padding.PHASE}"], output)
    bank_padding.refuse(output)
    return output


def _run(command: list[str], output: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CompileError(f"iree-compile was still running after {COMPILE_SECONDS:.0f} s") from None
    if done.returncode or not output.is_file():
        raise CompileError(f"iree-compile exited with code {done.returncode}; {compiler.diagnose(done.stderr)}")
