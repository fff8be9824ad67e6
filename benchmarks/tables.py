"""Turn benchmarks/results/*.json into the tables and plots of docs/benchmarks.md.

Only what stands between `<!-- results: NAME -->` and `<!-- end -->` is written; a NAME without a result stays as it is.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from support.names import AT_ITS_BEST, RESULTS_PATH
from support.plots import draw_latency, draw_memory, draw_ridge

from braind.signs import number

DOCUMENT_PATH = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BLOCK = re.compile(r"(<!-- results: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Result = dict[str, Any]


def pictures(result: Result, folder: Path) -> list[str]:
    """Write one row an arm and number of calls."""
    rows = []
    for row in result["rows"]:
        best = next(other for other in result["rows"] if (other["arm"], other["calls"]) == (AT_ITS_BEST, row["calls"]))
        name = row["arm"] + (", compiled" if row["arm"] == AT_ITS_BEST and result["inductor"]["taken"] else "")
        rows.append([
            row["calls"], name, f"{row['p50_ms']:.0f}", f"{row['p95_ms']:.0f}", f"{row['p99_ms']:.0f}",
            f"{row['calls']} × {row['batch']}", row["start"], row["lag_volumes"] or "", f"{row['times_floor']:.1f}",
            f"{row['p50_ms'] / best['p50_ms']:.2f}", "" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}",
            f"{row['two_way']:.3f}",
        ])  # fmt: skip
    one = result["rows"][0]
    draw_latency(result["rows"], folder / "benchmarks-latency.png")
    return [
        f"Guidance {one['guidance']:g} at every call, decoder {one['decoder']}; {result['trials']} single trials, "
        f"two-way among {result['foils']} pictures; floor: at {result['peak_gflops']:.0f} GFLOP/s. {_inductor(result)}",
        "",
        *_table(["calls", "arm", "p50 ms", "p95", "p99", "calls × batch", "start", "volumes late", "× floor",
                 "× diffusers at its best", "PSNR to 40 calls, dB", "two-way CLIP"], rows),
        "",
        "![latency against throughput](benchmarks-latency.png)",
        "",
        f"With {result['paced'][0]['gap_s']:g} s between pictures, as between volumes:",
        "",
        *_table(["calls", "arm", "p50 ms", "p95", "p99"],
                [[row["calls"], row["arm"], *_percentiles(row)] for row in result["paced"]]),
    ]  # fmt: skip


def presets(result: Result, _: Path) -> list[str]:
    """Write one row a preset, and live-1 beside live-4."""
    rows = {row["preset"]: row for row in result["rows"]}
    one, four = rows["live-1"], rows["live-4"]
    return [
        *_table(["preset", "engine", "calls", "decoder", "p50 ms", "p95", "p99", "two-way CLIP", "PixCorr"],
                [[row["preset"], row["engine"], row["calls"], row["decoder"], *_percentiles(row),
                  f"{row['two_way']:.3f} [{row['two_way_ci95'][0]:.3f}, {row['two_way_ci95'][1]:.3f}]",
                  f"{row['pixcorr']:.3f}"] for row in result["rows"]]),
        "",
        f"`live-1` is {four['p50_ms'] / one['p50_ms']:.1f} times as fast as `live-4`; two-way CLIP changes by "
        f"{number(one['two_way'] - four['two_way'], '+.3f')}, "
        f"PixCorr by {number(one['pixcorr'] - four['pixcorr'], '+.3f')} "
        f"({result['trials']} single trials, the same for both).",
    ]  # fmt: skip


def overhead(result: Result, _: Path) -> list[str]:
    """Write the daemon beside the echo, and the parts of an ack."""
    lines = []
    for row in result["rows"]:
        x, y, z = row["shape"]
        lines += [
            f"{row['volume'][0].upper()}{row['volume'][1:]}: {x} × {y} × {z}, {row['bytes'] / 1000:,.0f} kB, "
            f"{row['voxels']:,} voxels kept; **{row['ack_over_echo_p50_ms']:.1f} ms over the echo** (p50):",
            "",
            *_table(["", "p50 ms", "p95", "p99"], [
                ["bare echo", *_percentiles(row["echo"], 2)], ["volume → ack", *_percentiles(row["ack"], 2)],
                ["volume → Xzc", *_percentiles(row["xzc"], 1)],
                *[[f"alone: {name}", *_percentiles(part, 2)] for name, part in row["parts"].items()],
            ]),
            "",
        ]  # fmt: skip
    return lines[:-1]


def feedback(result: Result, _: Path) -> list[str]:
    """Write one row a kind of volume and what is waited for."""
    bars = result["bars_ms"]
    rows = [
        [row["what"], "first score, with feedback" if name == "score" else name, *_percentiles(row[name], 1),
         f"{row[name]['n']}"]
        for row in result["rows"] for name in row if name != "what"
    ]  # fmt: skip
    return [
        f"Bars: p99 of the first score {bars['score']} ms, of the picture {bars['picture']} ms; feedback "
        f"{bars['feedback']} ms after the volume.",
        "",
        *_table(["volumes", "what comes", "p50 ms", "p95", "p99", "n"], rows),
    ]


def growth(result: Result, folder: Path) -> list[str]:
    """Write memory over volumes."""
    draw_memory(result["rows"], folder / "benchmarks-memory.png")
    return [
        f"Policy `{result['policy']}`, preset `{result['preset']}`, {result['engine']}:",
        "",
        *_table(["volumes acked", "acks/s", "decoded", "skipped", "front MB", "decoder MB", "journal MB"],
                [[f"{row['volumes']:,}", f"{row['acks_per_s']:.0f}", row["decoded"], row["skipped"],
                  f"{row['front_mb']:.0f}", f"{row['decoder_mb']:.0f}", f"{row['journal_mb']:.0f}"]
                 for row in result["rows"]]),
        "",
        "![memory over volumes](benchmarks-memory.png)",
    ]  # fmt: skip


def startup(result: Result, _: Path) -> list[str]:
    """Write start-up times."""
    rows = [[row["what"], f"{row['p50_ms']:.0f}", f"{row['over_bare_ms']:.0f}"] for row in result["rows"]]
    return _table(["", "p50 ms", "over bare Python"], rows)


def replay(result: Result, _: Path) -> list[str]:
    """Write what became of a replay's volumes."""
    return [
        f"`braind replay {result['pace']}`: {result['n_sent']} volumes sent, {result['n_acked']} acked, "
        f"{result['n_decoded']} decoded, {result['n_skipped']} skipped; from sending a volume to its Xzc at the "
        f"subscriber median {result['latency_p50_s']:.3f} s, p99 {result['latency_p99_s']:.3f} s."
    ]


def ridge(result: Result, folder: Path) -> list[str]:
    """Write fits at each size beside the competitors', one volume's prediction, and the growth curves."""
    lines, fits = [], []
    for name, row in result.items():
        solver, at, scale = name.partition(" at ")
        if not at:
            continue
        n_trials, n_voxels, n_targets = row["sizes"]
        ours = result.get(f"braind at {scale}", {}).get("total_s")
        fits.append([
            f"{n_trials:,} × {n_voxels:,} → {n_targets:,}", solver, f"{row['total_s']:.0f}",
            f"{ours / row['total_s']:.3f}" if ours else "", row.get("peak_rss_gib", ""), row.get("rank", ""),
        ])  # fmt: skip
    if fits:
        header = ["trials × voxels → targets", "solver", "fit s", "braind's / its", "peak GiB", "rank"]
        lines += [*_table(header, sorted(fits)), ""]
    predicted = {name: row for name, row in result.get("predict", {}).items() if "median_ms" in (row or {})}
    if predicted:
        dense_ms = predicted["scikit-learn dense"]["median_ms"]
        lines += _table(["one volume → z and c, NSD's size", "p50 ms", "× scikit-learn's dense"], [
            [name, f"{row['median_ms']:.1f}", f"{row['median_ms'] / dense_ms:.3f}"] for name, row in predicted.items()
        ])  # fmt: skip
        lines += [""]
    if "growth" in result:
        draw_ridge(result["growth"], folder / "benchmarks-ridge.png")
        lines += ["![growth with voxels and targets](benchmarks-ridge.png)", ""]
    return lines[:-1]


WRITERS: dict[str, Callable[[Result, Path], list[str]]] = {
    writer.__name__: writer for writer in (pictures, presets, overhead, feedback, growth, startup, replay, ridge)
}


@click.command()
@click.option("--results", type=click.Path(exists=True, path_type=Path), default=RESULTS_PATH)
@click.option("--document", type=click.Path(exists=True, path_type=Path), default=DOCUMENT_PATH)
def main(results: Path, document: Path) -> None:
    """Write the tables into the DOCUMENT and the plots beside it."""

    def block(found: re.Match[str]) -> str:
        path = results / f"{found[2]}.json"
        if not path.is_file():
            return found[0]
        result = json.loads(path.read_text())
        lines = [*WRITERS[found[2]](result, document.parent), "", _origin(result)]
        return "\n".join([found[1].rstrip(), *lines, found[3]])

    document.write_text(BLOCK.sub(block, document.read_text(encoding="utf-8")), encoding="utf-8")


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def _percentiles(row: dict[str, float], digits: int = 0) -> list[str]:
    return [f"{row[f'p{share}_ms']:.{digits}f}" for share in (50, 95, 99)]


def _inductor(result: Result) -> str:
    inductor = result["inductor"]
    if "compiled_p50_ms" not in inductor:
        return f"Inductor: {inductor['why']}."
    return (
        f"Diffusers at its best is {'compiled by inductor' if inductor['taken'] else 'not compiled'}: "
        f"{inductor['compiled_p50_ms']:.0f} ms compiled, {inductor['eager_p50_ms']:.0f} ms not ({inductor['why']})."
    )


def _origin(result: Result) -> str:
    if "machine" not in result:  # the ridge part keeps it with each of its own
        result = next(iter(result.values()))
    machine = result["machine"]
    quick = "**A quick run: these figures mean nothing.** " if result.get("quick") else ""
    words = [
        f"{result['measured'][:10]}" if "measured" in result else "",
        f"commit {result.get('commit') or machine['commit']}",
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads",
        f"load before {machine.get('load_before', machine.get('load_average')):g}",
        *(f"{name} {found}" for name, found in result.get("versions", {}).items()),
    ]
    return f"<sub>{quick}{', '.join(word for word in words if word)}</sub>"


if __name__ == "__main__":
    main()
