"""Suite `ops`: each op against the time to copy the bytes that it must move."""

from ponet.report.benchmarks import Values, absent, greatest_spread, machine_note, made_by, spread
from ponet.report.tables import ABSENT, Table, seconds

SIZES = ("heads", "documents", "segments", "tokens")
BACKENDS = {"numba": "Numba", "triton": "Triton", "reference": "Reference"}
MIXER = {
    "ours": "PoNet",
    "published": "PoNet, published form, eager",
    "product": "its one matrix product alone",
}


def ops_tables(values: Values) -> list[Table]:
    """The tables of one result: one for each layout, and one for the whole mixer."""
    tables = [_layout(values, key) for key in values["layouts"]]
    if "mixer" in values["groups"]:
        tables.append(_mixer(values))
    tables[-1].notes += [
        "Bytes and operations are the least that an op can do with: every input read once, every result written once. "
        "Copy is the time of copying half that many bytes from one place to another, which moves as many; fresh is the "
        "same into memory that is allocated for it, as an op's results are. Of copy and of fresh are how near the op "
        "comes to either. Faster is over the reference. An op is bound by its operations "
        "where they, at the speed of the matrix product, would take longer than the copy. Medians of calls in turns "
        "with the copies; spread is half the distance of the quartiles over the median.",
        machine_note(values),
        made_by(values),
    ]
    return tables


def _layout(values: Values, key: str) -> Table:
    """Rows are ops and directions."""
    layout, backends = values["layouts"][key], values["backends"]
    fused = backends[0] if backends[0] != "reference" else None
    sizes = [f"{layout[name]:,} {name if layout[name] > 1 else name[:-1]}" for name in SIZES]
    title = f"{layout['name']}; {', '.join(sizes)}"
    columns = ["Op", "MB", "M ops", "Bound by", "Copy", "Fresh"]
    if fused:
        columns += [BACKENDS[fused], "GB/s", "Of copy", "Of fresh"]
    columns += [BACKENDS["reference"], *(["Faster"] if fused else []), "Spread"]
    table = Table(title, columns)
    for name, row in values["groups"].get(key, {}).items():
        # older results have no "fresh"
        measured = {each: row.get(each, {}) for each in ("copy", "fresh", "reference", *([fused] if fused else []))}
        times = {each: cell.get("median_seconds") for each, cell in measured.items()}
        cells = [name, f"{row['bytes'] / 1e6:,.1f}", f"{row['operations'] / 1e6:,.1f}", _bound(values, row)]
        cells += [_time(measured["copy"]), _time(measured["fresh"])]
        faster = []
        if fused:
            took, reference = times[fused], times["reference"]
            cells += [_time(row[fused]), f"{row['bytes'] / took / 1e9:,.1f}" if took else ABSENT]
            of = (times["copy"], times["fresh"])
            cells += [f"{100 * each / took:.0f} %" if took and each else ABSENT for each in of]
            faster = [f"{reference / took:.1f}×" if took and reference else ABSENT]
        around = greatest_spread([spread(cell) for cell in measured.values()])
        table.rows.append([*cells, _time(row["reference"]), *faster, around])
    return table


def _bound(values: Values, row: Values) -> str:
    """Whether copying the bytes takes longer than the operations at the speed of a matrix product."""
    product = values["groups"].get("mixer", {}).get("forward", {}).get("product", {}).get("median_seconds")
    copy = row["copy"].get("median_seconds")
    if not product or not copy:
        return ABSENT
    rate = values["setup"]["mixer"]["operations"] / product
    return "bytes" if copy >= row["operations"] / rate else "operations"


def _mixer(values: Values) -> Table:
    """The whole mixer beside its matrix product and the published form."""
    directions, setup = values["groups"]["mixer"], values["setup"]["mixer"]
    title = f"One whole mixer: T = {setup['tokens']:,}, d = 768, 12 heads, sentences"
    table = Table(title, ("", *directions, "Spread"))
    for key, name in MIXER.items():
        cells = [rows[key] for rows in directions.values()]
        table.rows.append([name, *map(_time, cells), greatest_spread([spread(cell) for cell in cells])])
    return table


def _time(cell: Values) -> str:
    if "median_seconds" not in cell:
        return absent(cell)
    value = cell["median_seconds"]
    return f"{value * 1e6:.3g} µs" if value < 1e-3 else seconds(value)
