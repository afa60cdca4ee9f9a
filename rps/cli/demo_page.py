"""The page of `rps demo`, made with Gradio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from rps.cli.demo_job import PAINTED, TASKS, Demo, Job, Stopped
from rps.cli.errors import is_bad_input, sentence

INTRODUCTION = """# Restore a picture
Many clean pictures could have become the one you have. **t0** chooses among them: at 0 you get the estimate with the
least error, which looks smooth; larger values add detail that looks real but is partly invented, and take longer.
Pictures stay on this machine."""
TASK = "Paint over a missing part with the brush. For the others, the number that appears below should be about right."
NOISE = (
    "Standard deviation of the grain, where black is -1 and white is 1: 0.02 is barely visible, 0.2 is strong. "
    "Too low a value keeps grain, too high a value removes detail."
)
PRIOR = "The network that fills in what was lost; choose the kind of picture that it was trained on."
T0 = (
    "Noise that is added to the estimate, and removed again with the prior: 0 is none, 1000 nothing but noise. "
    "Each level appears as soon as it is there."
)
THEME = gr.themes.Default().set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
"""The default theme, with explanations that are easier to read."""
NOTE_FILE = """() => {
    const note = event => {
        const [file] = event.target.files || (event.dataTransfer || event.clipboardData || {}).files || [];
        window.noted = file ? file.name : window.noted;
    };
    for (const kind of ["change", "drop", "paste"]) document.addEventListener(kind, note, true);
}"""
"""Notes how a file is called, which the editor of pictures forgets."""
TAKE_FILE = "() => { const name = window.noted || 'picture'; window.noted = ''; return name; }"
LEVELS = [0, 50, 100, 200, 300, 400, 600]
RED = gr.Brush(default_size=12, colors=["#d00000"], color_mode="fixed")
"""Dark, as `MaskFile` takes what is missing to be."""


def build(demo: Demo) -> gr.Blocks:
    """The page, to be launched."""
    with gr.Blocks(title="rps demo", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        done_state, file = gr.State({"job": None, "files": {}}), gr.Textbox("picture", visible=False)
        with gr.Row():
            with gr.Column():
                picture = gr.ImageEditor(
                    type="filepath", format="png", label="Your picture", elem_id="picture", height=420,
                    sources=("upload", "clipboard"), transforms=(), layers=False, brush=RED,
                    placeholder=f"Drop a picture here, or click to choose one\n"
                    f"It is restored at no more than {demo.largest} x {demo.largest} pixels (rps demo --largest)",
                )  # fmt: skip
                clean = gr.Radio(
                    [("It is degraded: restore it", False), ("It is clean: degrade it first, and compare", True)],
                    value=False, label="Is the picture degraded?",
                )  # fmt: skip
                task = gr.Dropdown(list(TASKS), value=PAINTED, label="What happened to it?", info=TASK)
                number = gr.Slider(visible=False)
                noise = gr.Slider(0, 0.5, TASKS[PAINTED].noise, step=0.01, label="Noise", info=NOISE)
                estimate = gr.Checkbox(False, label="Estimate the noise from the picture instead")
                prior = gr.Dropdown(list(demo.priors), label="Prior", info=PRIOR)
                levels = gr.CheckboxGroup(LEVELS, value=[0, 100, 300], label="t0", elem_id="chosen", info=T0)
                with gr.Accordion("More settings", open=False):
                    steps = gr.Slider(1, 200, 50, step=1, label="Steps", info="Fewer are faster and less accurate.")
                    seed = gr.Number(0, precision=0, label="Seed", info="Another seed invents other details.")
                with gr.Row():
                    go = gr.Button("Restore", variant="primary", elem_id="go")
                    stop = gr.Button("Stop", variant="stop", elem_id="stop")
            with gr.Column():
                pair = gr.ImageSlider(label="Before and after", format="png", height=420, interactive=False)
                t0 = gr.Slider(
                    0, 1000, 0, step=25, label="Move t0", elem_id="t0",
                    info="Shows a level that is there at once, and computes any other.",
                )  # fmt: skip
                line = gr.Markdown("The result appears here.", elem_id="line")
                download = gr.DownloadButton("Download this level (PNG)", interactive=False, elem_id="download")
                gallery = gr.Gallery(
                    label="All levels", format="png", columns=4, height=280, object_fit="contain",
                    interactive=False, elem_id="levels",
                )  # fmt: skip
        shown = [done_state, pair, t0, line, download, gallery]

        def choose(name: str) -> list[Any]:
            chosen = TASKS[name]
            least, most, step = chosen.range
            return [
                gr.Slider(least, most, chosen.value, step=step, label=chosen.number, visible=bool(chosen.number)),
                gr.Slider(value=chosen.noise or 0.0),
                chosen.noise is None,
            ]

        def start(
            edited: Any, clean: bool, task: str, number: float, noise: float, estimate: bool, prior: str,
            levels: list[int], steps: int, seed: int, file: str, progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio's
        ) -> Iterator[dict[Any, Any]]:  # fmt: skip
            if not edited or not edited["background"]:
                yield {line: "**Not restored:** there is no picture yet; drop one into the box."}
                return
            mask = Path(edited["layers"][0]) if edited["layers"] else None
            guess = None if estimate else noise
            job = Job(
                Path(edited["background"]), mask, task, number, guess, prior, clean, int(steps), int(seed),
                Path(file).stem,
            )  # fmt: skip
            yield from run({"job": job, "files": {}}, levels, progress)

        def move(level: int, done: Any, progress: gr.Progress = gr.Progress()) -> Iterator[dict[Any, Any]]:  # noqa: B008
            if level in done["files"]:
                yield show(done, level)
            elif done["job"] is not None:
                yield from run(done, [level], progress)

        def run(done: dict[str, Any], levels: list[int], progress: gr.Progress) -> Iterator[dict[Any, Any]]:
            restored = demo.restore(done["job"], levels, lambda part, what: progress(part, what))
            yield {line: "Restoring ..."}
            try:
                for level, path, about in restored:
                    done = {**done, "files": done["files"] | {level: (str(path), about)}}
                    yield show(done, level)
            except Stopped:
                yield {line: "Stopped; the levels that are there are kept."}
            except Exception as error:
                if not is_bad_input(error, started=True):
                    raise
                yield {line: f"**Not restored:** {sentence(error)}"}

        def show(done: dict[str, Any], level: int | None) -> dict[Any, Any]:
            """What is shown of the files so far.  level: that on top; None is the picture before."""
            files = done["files"]
            path, about = files[level]
            levels = sorted(key for key in files if key is not None)
            return {
                done_state: done, pair: (files[None][0], path), t0: gr.skip() if level is None else level,
                line: files[None][1] + ("" if level is None else f"\n\nShown: {about}"),
                download: gr.DownloadButton(value=path, interactive=True),
                gallery: [(files[None][0], "before"), *(files[key] for key in levels)],
            }  # fmt: skip

        page.load(js=NOTE_FILE)
        picture.upload(outputs=file, js=TAKE_FILE, api_visibility="private")
        task.change(choose, task, [number, noise, estimate], api_visibility="private")
        inputs = [picture, clean, task, number, noise, estimate, prior, levels, steps, seed, file]
        once: dict[str, Any] = {"concurrency_id": "restore", "show_progress_on": pair, "api_visibility": "private"}
        go.click(start, inputs, shown, **once)
        t0.release(move, [t0, done_state], shown, **once)
        stop.click(demo.stopped.set, queue=False, api_visibility="private")
    return page
