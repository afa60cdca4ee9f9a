"""Every figure of docs/embedded.md about curves, from real runs on images 0 to 63 of the embedded set.

    python tools/embedded_figures.py --output runs/embedded

Runs `rps predict` for the four tasks (the whole curve), and stage 1 alone with each form of the prior term at equal
network calls. Finished runs are not repeated. Then writes the tables between the markers in docs/embedded.md, and the
plots and grids of the runs to docs/figures/.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from rps.cli import main as rps

TASKS = ("denoise", "sr4", "inpaint", "deblur_aniso")
TERMS = ("published", "centred", "control_variate")
DOCS = Path(__file__).parent.parent / "docs"


def run(output: Path, *arguments: str) -> dict:
    """metrics.json of `rps predict` with these arguments, run now unless it has been."""
    if not (output / "metrics.json").is_file():
        status = rps(["predict", "--config", "demo", *arguments, "--output", str(output), "--overwrite"])
        if status:
            raise SystemExit(f"rps predict for {output} ended with exit code {status}")
    return json.loads((output / "metrics.json").read_text())


def point(metrics: dict) -> str:
    """RMSE (standard error) / sqrt(FD) (standard error)."""
    rmse, frechet = metrics["rmse"], metrics["frechet"]
    return f"{rmse['mean']:.4f} ({rmse['se']:.4f}) / {frechet['sqrt']:.3f} ({frechet['se_sqrt']:.3f})"


def difference(level: dict) -> str:
    """Paired difference with the first level, in standard errors of that difference."""
    rmse, frechet = (level["difference_to_first"][name] for name in ("rmse", "sqrt_frechet"))
    return f"{rmse['mean']:+.4f} ({rmse['se']:.4f}), {frechet['value']:+.3f} ({frechet['se']:.3f})"


def curve_table(task: str, result: dict) -> list[str]:
    lines = [
        f"\n**{task}**: A^+ y {point(result['pseudo_inverse']['metrics'])}; clean images "
        f"sqrt FD {result['reference']['metrics']['frechet']['sqrt']:.3f}.\n",
        "| t0 | RMSE / sqrt FD | minus t0 = 0, paired: RMSE, sqrt FD | PSNR | SSIM | consistency | calls | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for level in result["levels"]:
        m = level["metrics"]
        lines.append(
            f"| {level['level']} | {point(m)} | {difference(level) if level['level'] else ''} "
            f"| {m['psnr']['mean']:.2f} | {m['ssim']['mean']:.3f} | {m['consistency']['mean']:.3f} "
            f"| {level['network_calls_per_image']:.0f} | {level['seconds_per_image']:.2f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--write", action="store_true", help="write docs/embedded.md and docs/figures/")
    arguments = parser.parse_args()

    lines = []
    for task in TASKS:
        folder = arguments.output / task
        lines += curve_table(task, run(folder, "--config", f"embedded/{task}"))
        if arguments.write:
            shutil.copy(folder / "dp_curve.png", DOCS / "figures" / f"embedded_{task}_curve.png")
            shutil.copy(sorted((folder / "grids").glob("*.png"))[0], DOCS / "figures" / f"embedded_{task}_grid.png")
    lines += [
        "\nStage 1 at 100 network calls (t0 = 0 alone), by prior term:\n",
        "| task | " + " | ".join(TERMS) + " |",
        "|---|---|---|---|",
    ]
    for task in TASKS:
        cells = []
        for term in TERMS:
            result = run(
                arguments.output / f"{task}_{term}", "--config", f"embedded/{task}", "--model.t0", "[0]",
                "--model.estimator.num_steps", "100", "--model.estimator.prior_term", term,
            )  # fmt: skip
            cells.append(point(result["levels"][0]["metrics"]))
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        page = DOCS / "embedded.md"
        before, _, rest = page.read_text().partition("<!-- curves -->\n")
        _, _, after = rest.partition("<!-- end of curves -->")
        page.write_text(f"{before}<!-- curves -->\n{text}<!-- end of curves -->{after}")


if __name__ == "__main__":
    main()
