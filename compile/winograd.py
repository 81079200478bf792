"""3x3 convolutions on a CPU by Winograd: a preprocessing spec for iree-compile, made for the convolutions of one module.

F(4x4, 3x3): a 4x4 tile of the result takes 36 multiplications a pair of channels instead of 144; F(2x2, 3x3), for images of 4x4: a 2x2
tile 16 instead of 36 (Lavin and Gray, "Fast algorithms for convolutional neural networks", 2015; the matrices below are theirs). The sums
around them are matrix products too: with the tiles of a whole side in one matrix, U [tiles, points, side + 2], both directions are
contractions that llvm-cpu vectorizes well. Filters are transformed once, when the module is loaded. IREE has a pass of its own
(iree-linalg-ext-convert-conv2d-to-winograd): right for one convolution alone, and 0.1 x the speed and a relative error of 0.15 on the nano
UNet (IREE 3.13).

float32 only: in float16 the constants, up to 8, would cost the accuracy. Above sides of 32 U is too wide. Measured in docs/TUNING.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from compile import tuning_spec
from compile.cache import Cache
from compile.target import Target
from ireeperf import document

_Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolation:
    """F(tile, 3): results of a tile along a side from as many points as `from_image` has rows."""

    from_image: _Rows  # [points, points]
    from_filter: _Rows  # [points, 3]
    to_result: _Rows  # [tile, points]

    @property
    def tile(self) -> int:
        return len(self.to_result)

    @property
    def points(self) -> int:
        return len(self.from_image)


F4 = Interpolation(
    from_image=((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1)),
    from_filter=((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1)),
    to_result=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)))
F2 = Interpolation(from_image=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
                   from_filter=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)), to_result=((1, 1, 1, 0), (0, 1, -1, -1)))
SIDES = (8, 32)  # of F4
CHANNELS = 16  # at least, of image and result: one vector; those of the result are a multiple of it
_CONVOLUTION = re.compile(r"torch\.aten\.conv2d .*: !torch\.vtensor<\[(\d+),(\d+),(\d+),(\d+)\],f32>, !torch\.vtensor<\[(\d+),(\d+),3,3\],f32>"
                          r".*-> !torch\.vtensor<\[\d+,\d+,(\d+),(\d+)\],f32>")
# filters grow by 36 / 9; above its limit (1 MiB) IREE would transform them in every call
_HOIST = "--iree-opt-const-expr-max-size-increase-threshold=67108864"
_OP, _VALUE = "!transform.any_op", "!transform.any_value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """Sums of the product that are kept in registers: tiles by channels, which are also what lies side by side in the packed filters."""

    tiles: int
    lanes: int


# Half of the registers each, by measurement (docs/TUNING.md). On AVX2 8 by 32 takes 1.5 times as long as 4 by 16; on AVX-512 8 by 16 waits
# for memory 1.1 to 1.3 times as long as 8 by 32
AVX512, AVX2 = Registers(tiles=8, lanes=2 * CHANNELS), Registers(tiles=4, lanes=CHANNELS)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Convolution:
    """A 3x3 convolution of stride 1 with a margin of 1: its batch, sides and channels."""

    batch: int
    height: int
    width: int
    inputs: int
    outputs: int

    @property
    def name(self) -> str:
        return f"{self.batch}x{self.height}x{self.width}x{self.inputs}x{self.outputs}"

    @property
    def form(self) -> Interpolation | None:
        """What makes it faster; None: nothing here."""
        if self.inputs < CHANNELS or self.outputs % CHANNELS:
            return None
        if self.height == self.width == 2 * F2.tile:
            return F2
        return F4 if all(SIDES[0] <= side <= SIDES[1] and side % F4.tile == 0 for side in (self.height, self.width)) else None


def flags(target: Target, mlir: Path, cache: Cache) -> tuple[str, ...]:
    """What to give iree-compile for `mlir` on `target` besides compile.flags: none without a convolution that gains. The spec is kept in the
    cache under a name that its text decides."""
    found = convolutions(mlir) if target.backend == "cpu" else ()
    if not found:
        return ()
    spec = text(found, AVX512 if "cpu-avx512" in tuning_spec.names(target) else AVX2)
    path = cache.folder / "winograd" / f"{sha256(spec.encode()).hexdigest()[:16]}.mlir"
    if not path.is_file():
        document.write_text(path, spec)
    return (f"--iree-preprocessing-transform-spec-filename={path}", _HOIST)


def convolutions(mlir: Path) -> tuple[Convolution, ...]:
    """Convolutions of an exported module that gain, each once. Equal sides of image and result mean stride 1 and a margin of 1."""
    found = set()
    with mlir.open() as lines:
        for line in lines:
            if "conv2d" in line and (match := _CONVOLUTION.search(line)) is not None:
                batch, inputs, height, width, outputs, inputs_a_group, *result = map(int, match.groups())
                one = Convolution(batch=batch, height=height, width=width, inputs=inputs, outputs=outputs)
                if inputs == inputs_a_group and result == [height, width] and one.form is not None:
                    found.add(one)
    return tuple(sorted(found))


def text(found: Sequence[Convolution], held: Registers) -> str:
    """The spec: a function and a matcher for each convolution, and the rewrite of all functions of a module."""
    functions = [_function(one, one.form, held) for one in found if one.form is not None]
    pairs = ", ".join(f"@match_{one.name} -> @call_{one.name}" for one in found)
    return "\n".join(["module attributes {transform.with_named_sequence} {", *functions, *(_rewrite(one) for one in found),
                      f"transform.named_sequence @__transform_main(%module: {_OP}) {{",
                      f'  %functions = transform.structured.match ops{{["util.func"]}} in %module : ({_OP}) -> {_OP}',
                      f"  transform.foreach %functions : {_OP} {{", f"  ^bb1(%function: {_OP}):",
                      f"    transform.foreach_match in %function {pairs} : ({_OP}) -> {_OP}", "  }",
                      f"  transform.apply_dce to %module : {_OP}", "  transform.yield", "}", "}", ""])


def _function(one: Convolution, form: Interpolation, held: Registers) -> str:
    """The convolution of a padded image [batch, height + 2, width + 2, inputs] with a filter [3, 3, inputs, outputs], added to `init`.

    points of rows -> of columns -> product over inputs, for each pair of points -> results of rows -> of columns. Filters lie as the
    product reads them, [points, outputs / lanes, inputs, lanes]: they no longer fit the caches, and memory gives one run of addresses faster
    than many short rows. The last contraction writes channels outermost, as the rest of the graph has them: IREE would move that
    transposition into it anyway, and tile it badly.
    """
    tile, side, b, c, f = form.tile, form.points, one.batch, one.inputs, one.outputs
    down, across, pairs = one.height // tile, one.width // tile, side * side
    tiles = b * down * across
    lanes = held.lanes if f % held.lanes == 0 and f > held.lanes else CHANNELS  # of a single group IREE makes a plain product, without tiles
    packed, product = _tensor(pairs, f // lanes, c, lanes), _tensor(pairs, tiles, f // lanes, lanes)
    image, nhwc = _tensor(b, one.height + 2, one.width + 2, c), _tensor(b, one.height, one.width, f)
    rows, points = _tensor(b, down, side, one.width + 2, c), _tensor(side, side, b, down, across, c)
    transformed, split, results = _tensor(side, side, f // lanes, c, lanes), _tensor(side, side, b, down, across, f), _tensor(tile, side, b, down, across, f)
    nchw, turned = _tensor(b, f, one.height, one.width), _tensor(b, f, down, tile, across, tile)
    u_rows, u_columns, end = _tensor(down, side, one.height + 2), _tensor(across, side, one.width + 2), _tensor(tile, side)
    filters = [[[[float(p * q) for q in right] for p in left] for right in form.from_filter] for left in form.from_filter]
    return "\n".join([
        f"util.func private @winograd_{one.name}(%image: {image}, %filter: {_tensor(3, 3, c, f)}, %init: {nhwc}) -> {nhwc} {{",
        f"  %rows = arith.constant dense<{_points(form, down)}> : {u_rows}",
        f"  %columns = arith.constant dense<{_points(form, across)}> : {u_columns}",
        f"  %weights = arith.constant dense<{filters}> : {_tensor(side, side, 3, 3)}",
        f"  %end = arith.constant dense<{_floats(form.to_result)}> : {end}",
        "  %zero = arith.constant 0.0 : f32",
        f"  %groups = tensor.expand_shape %filter [[0], [1], [2], [3, 4]] output_shape [3, 3, {c}, {f // lanes}, {lanes}] "
        f": {_tensor(3, 3, c, f)} into {_tensor(3, 3, c, f // lanes, lanes)}",
        *_contraction("%transformed", ("%weights", _tensor(side, side, 3, 3), "d0, d1, d5, d6"),
                      ("%groups", _tensor(3, 3, c, f // lanes, lanes), "d5, d6, d3, d2, d4"), transformed, "d0, d1, d2, d3, d4", 7, 2),
        f"  %packed = tensor.collapse_shape %transformed [[0, 1], [2], [3], [4]] : {transformed} into {packed}",
        *_contraction("%down", ("%rows", u_rows, "d1, d2, d5"), ("%image", image, "d0, d5, d3, d4"), rows, "d0, d1, d2, d3, d4", 6, 1),
        *_contraction("%all", ("%columns", u_columns, "d3, d4, d6"), ("%down", rows, "d0, d1, d2, d6, d5"), points, "d2, d4, d0, d1, d3, d5", 7, 1),
        f"  %tiles = tensor.collapse_shape %all [[0, 1], [2, 3, 4], [5]] : {points} into {_tensor(pairs, tiles, c)}",
        *_contraction("%product", ("%tiles", _tensor(pairs, tiles, c), "d0, d1, d4"), ("%packed", packed, "d0, d2, d4, d3"), product,
                      "d0, d1, d2, d3", 5, 1, configuration=_product_tiles(tiles, f // lanes, lanes, held)),
        f"  %joined = tensor.collapse_shape %product [[0], [1], [2, 3]] : {product} into {_tensor(pairs, tiles, f)}",
        f"  %split = tensor.expand_shape %joined [[0, 1], [2, 3, 4], [5]] output_shape [{side}, {side}, {b}, {down}, {across}, {f}] "
        f": {_tensor(pairs, tiles, f)} into {split}",
        *_contraction("%up", ("%end", end, "d0, d6"), ("%split", split, "d6, d1, d2, d3, d4, d5"), results,
                      "d0, d1, d2, d3, d4, d5", 7, 1),
        f"  %room = tensor.empty() : {nchw}",
        f"  %turned = linalg.transpose ins(%init : {nhwc}) outs(%room : {nchw}) permutation = [0, 3, 1, 2]",
        f"  %begin = tensor.expand_shape %turned [[0], [1], [2, 3], [4, 5]] output_shape [{b}, {f}, {down}, {tile}, {across}, {tile}] : {nchw} into {turned}",
        *_contraction("%result", ("%end", end, "d5, d6"), ("%up", results, "d3, d6, d0, d2, d4, d1"), turned, "d0, d1, d2, d3, d4, d5", 7, 1,
                      begin="%begin", configuration=_result_tiles(form, across, f)),
        f"  %whole = tensor.collapse_shape %result [[0], [1], [2, 3], [4, 5]] : {turned} into {nchw}",
        f"  %back = tensor.empty() : {nhwc}",
        f"  %returned = linalg.transpose ins(%whole : {nchw}) outs(%back : {nhwc}) permutation = [0, 2, 3, 1]",
        f"  util.return %returned : {nhwc}", "}"])


def _product_tiles(tiles: int, groups: int, lanes: int, held: Registers) -> str:
    """By IREE's own choice the product is half as fast as on filters of one plain matrix."""
    rows = max(size for size in range(1, held.tiles + 1) if tiles % size == 0)
    return _configuration([1, tiles, groups, lanes, 0], [1, rows, 1, lanes, 0], [0, 0, 0, 0, 4])


def _result_tiles(form: Interpolation, across: int, outputs: int) -> str:
    """Tiles of the last contraction: 16 channels by the results of a tile's row, turned in registers. By IREE's own choice it takes seven times
    as long (113 us against 16 for 2x16x16x96, AVX-512)."""
    share = max(size for size in range(CHANNELS, 161, CHANNELS) if outputs % size == 0)
    return _configuration([1, share, 1, form.tile, across, form.tile, 0], [1, CHANNELS, 1, 1, 1, form.tile, 0], [0, 0, 0, 0, 0, 0, form.points])


def _configuration(distribution: Sequence[int], parallel: Sequence[int], reduction: Sequence[int]) -> str:
    """Tiles that a contraction brings along."""
    return (f", compilation_info = #iree_codegen.compilation_info<lowering_config = #iree_cpu.lowering_config<distribution = {list(distribution)}, "
            f"vector_common_parallel = {list(parallel)}, vector_reduction = {list(reduction)}>, "
            "translation_info = #iree_codegen.translation_info<pipeline = #iree_cpu.pipeline<DoubleTilingExpert>>>")


def _contraction(name: str, left: tuple[str, str, str], right: tuple[str, str, str], kind: str, result: str, loops: int, reduced: int, *,
                 begin: str = "", configuration: str = "") -> Iterator[str]:
    """Lines of `name` = the sum over the last `reduced` of `loops` loops of left x right (each: value, type, indices), from zero or `begin`."""
    if not begin:
        begin = f"{name}_zero"
        yield f"  {name}_room = tensor.empty() : {kind}"
        yield f"  {begin} = linalg.fill ins(%zero : f32) outs({name}_room : {kind}) -> {kind}"
    dims = ", ".join(f"d{index}" for index in range(loops))
    maps = ", ".join(f"affine_map<({dims}) -> ({indices})>" for indices in (left[2], right[2], result))
    iterators = ", ".join(['"parallel"'] * (loops - reduced) + ['"reduction"'] * reduced)
    yield (f"  {name} = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{iterators}]{configuration}}} ins({left[0]}, {right[0]} : {left[1]}, "
           f"{right[1]}) outs({begin} : {kind}) {{ ^bb0(%a: f32, %b: f32, %sum: f32): %ab = arith.mulf %a, %b : f32 "
           f"%more = arith.addf %sum, %ab : f32 linalg.yield %more : f32 }} -> {kind}")


def _rewrite(one: Convolution) -> str:
    """What matches the convolution after it was turned to channels last, and what calls its function."""
    sides = (_tensor(one.batch, one.height + 2, one.width + 2, one.inputs), _tensor(3, 3, one.inputs, one.outputs),
             _tensor(one.batch, one.height, one.width, one.outputs))
    operands = [line for index, kind in enumerate(sides) for line in (
        f"  %operand{index} = transform.get_operand %op[{index}] : ({_OP}) -> {_VALUE}",
        f"  transform.iree.match.cast_compatible_type %operand{index} = {kind} : {_VALUE}")]
    return "\n".join([
        f"transform.named_sequence @match_{one.name}(%op: {_OP} {{transform.readonly}}) -> {_OP} {{",
        f'  transform.match.operation_name %op ["linalg.conv_2d_nhwc_hwcf"] : {_OP}', *operands, f"  transform.yield %op : {_OP}", "}",
        f"transform.named_sequence @call_{one.name}(%op: {_OP} {{transform.readonly}}) {{",
        f"  %module = transform.util.get_nearest_symbol_table %op : ({_OP}) -> {_OP}",
        f"  %function = transform.util.import_symbol @winograd_{one.name} into %module if undefined : ({_OP}) -> {_OP}",
        f"  %ins = transform.get_operand %op[all] : ({_OP}) -> {_VALUE}",
        f"  %out = transform.get_result %op[all] : ({_OP}) -> {_VALUE}",
        "  transform.util.cast_and_call inline_call %function(%ins) -> %out after %op { transform.type_conversion.tensor.cast_shape_dynamic_dims } : "
        f"({_OP}, {_VALUE}, {_VALUE}, {_OP}) -> ()", "  transform.yield", "}"])


def _points(form: Interpolation, tiles: int) -> list[list[list[float]]]:
    """U: the points of each tile of a side of `tiles` * tile + 2, [tiles, points, side]; a tile begins where the last one's results end and
    overlaps it by 2."""
    after = form.tile * (tiles - 1)
    return [[[0.0] * (form.tile * index) + [float(value) for value in row] + [0.0] * (after - form.tile * index) for row in form.from_image]
            for index in range(tiles)]


def _floats(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[float(value) for value in row] for row in rows]


def _tensor(*sizes: int) -> str:
    return f"tensor<{'x'.join(map(str, sizes))}xf32>"
