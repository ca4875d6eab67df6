"""One self-contained HTML page: plots, tables, crops at equal file size with a slider."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from nacre.tools.crops import Crop
from nacre.tools.machine import describe_machine
from nacre.tools.metrics import METRICS
from nacre.tools.results import Evaluation, setting_table, speed_table
from nacre.tools.summary import Shown
from nacre.tools.timing import Speed
from nacre.version import __version__

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1100px; margin: 2em auto;
       padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.2em; margin-top: 2.2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92em; }
th, td { text-align: left; padding: .25em .9em .25em 0; border-bottom: 1px solid #e5e5e5; vertical-align: top; }
td:first-child { white-space: nowrap; }
.wide { overflow-x: auto; margin: .8em 0; } img.plot { max-width: 100%; height: auto; }
.warning { color: #8a2500; } .small { color: #555; font-size: .88em; overflow-wrap: anywhere; }
.compare { margin: 1em 0 2.5em; } .stage { position: relative; display: inline-block; line-height: 0; max-width: 100%; }
.stage img { max-width: 100%; height: auto; } .stage img + img { position: absolute; left: 0; top: 0; }
.stage .edge { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: #fff;
               box-shadow: 0 0 3px #000; pointer-events: none; }
.controls { display: flex; flex-wrap: wrap; gap: .6em 1.4em; align-items: center; margin: .5em 0; }
.controls label { display: flex; flex-direction: column; font-size: .88em; color: #333; }
.frame { display: inline-block; max-width: 100%; }
input[type=range] { display: block; width: 100%; min-width: 8em; margin: .5em 0; }
"""

_SCRIPT = """
for (const box of document.querySelectorAll('.compare')) {
  const crops = JSON.parse(box.querySelector('script').textContent);
  const [left, right] = box.querySelectorAll('.stage img'), edge = box.querySelector('.edge');
  const [leftChoice, rightChoice] = box.querySelectorAll('select'), slider = box.querySelector('input');
  const [leftNote, rightNote] = box.querySelectorAll('.note');
  const names = Object.keys(crops);
  for (const choice of [leftChoice, rightChoice])
    for (const name of names) choice.add(new Option(name, name));
  const ours = names.find(name => name.startsWith('nacre:')) || names[1] || names[0];
  leftChoice.value = ours; rightChoice.value = names[names.length - 1] === ours ? names[0] : names[names.length - 1];
  const show = () => {
    left.src = crops[leftChoice.value].image; right.src = crops[rightChoice.value].image;
    leftNote.textContent = crops[leftChoice.value].note; rightNote.textContent = crops[rightChoice.value].note;
    right.style.clipPath = 'inset(0 0 0 ' + slider.value + '%)'; edge.style.left = slider.value + '%';
  };
  for (const control of [leftChoice, rightChoice, slider]) control.addEventListener('input', show);
  show();
}
"""


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = []
    for number, row in enumerate(rows):
        tag = "td" if number else "th"
        cells = (html.escape(cell).replace(" %", "&nbsp;%") for cell in row)  # no lines that begin with a percent sign
        lines.append("<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def _listing(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<p class="warning">{title}</p><ul class="warning">{items}</ul>' if lines else ""


def _comparison(path: str, crops: Sequence[Crop]) -> str:
    choices = {}
    for crop in crops:
        quality = f"{crop.size:,} bytes, {crop.bpp:.3f} bpp, {crop.psnr:.2f} dB"
        note = "before compression" if crop.codec == "original" else quality
        choices[crop.codec] = {"image": _data_url("image/webp", crop.image), "note": note}
    name = html.escape(PurePath(path).name)
    data = json.dumps(choices).replace("<", "\\u003c")
    return f"""<div class="compare"><h3>{name}</h3>
<div class="controls"><label>left <select aria-label="left of {name}"></select><span class="note"></span></label>
<label>right <select aria-label="right of {name}"></select><span class="note"></span></label></div>
<div class="frame"><div class="stage"><img alt="left crop of {name}"><img alt="right crop of {name}"><div class="edge">
</div></div><input type="range" min="0" max="100" value="50" step="0.5" aria-label="boundary in {name}"></div>
<script type="application/json">{data}</script></div>"""


def _crops(crops: Sequence[Crop]) -> str:
    if not crops:
        return ""
    pictures: dict[str, list[Crop]] = {}
    for crop in crops:
        pictures.setdefault(crop.picture, []).append(crop)
    parts = "\n".join(_comparison(path, group) for path, group in pictures.items())
    return (
        "<h2>Look for yourself: equal file size</h2><p>The part of each picture, or of the middle frame of each clip,"
        f" with the most detail, 1:1. Every codec at the quality whose file is nearest to {crops[0].target:g} bits per"
        f" pixel; the size it really has is beside its name. Move the slider.</p>{parts}"
    )


def _settings(evaluation: Evaluation, machine: dict[str, Any]) -> str:
    described = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    command = f"<p><code>{html.escape(evaluation.command)}</code></p>" if evaluation.command else ""
    table = _table(setting_table(evaluation))
    return f'<h2>Settings</h2><div class="small">{command}{table}<p>{html.escape(described)}</p></div>'


def build_report(
    evaluation: Evaluation,
    summary: Shown,
    plots: dict[str, bytes],
    speeds: Sequence[Speed],
    crops: Sequence[Crop],
) -> str:
    """The page as text. plots: SVG files by name, those of metrics under the metric's name."""
    body = []
    for metric in evaluation.metrics:
        body.append(f"<h2>{html.escape(METRICS[metric].label)}</h2>")
        body.append(_image(metric, plots))
        body += map(_table, summary.tables(metric))
    if speeds:
        body.append("<h2>Speed</h2>" + _table(speed_table(speeds)))
        body += [_image(name, plots) for name in ("encode", "decode")]
    machine = describe_machine()
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>nacre evaluate</title><style>{_STYLE}</style></head><body>
<h1>Rate and distortion</h1><p>{evaluation.counted(summary.subjects)}; {html.escape(str(machine["cpu"]))};
nacre {__version__}.
{html.escape(summary.method)}; the interval used in brackets.</p>
{_listing("Left out:", evaluation.skipped)}{_listing("Failed or incomplete:", evaluation.failures)}
{"".join(body)}
{_crops(crops)}
{_settings(evaluation, machine)}
<script>{_SCRIPT}</script></body></html>
"""


def _image(name: str, plots: dict[str, bytes]) -> str:
    if name not in plots:
        return ""
    return f'<p><img class="plot" alt="plot: {html.escape(name)}" src="{_data_url("image/svg+xml", plots[name])}"></p>'
