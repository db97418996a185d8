# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a colorizer in two stages, then color a photograph
#
# The notebooks that this project replaces hold everything: data, networks, losses and a training loop, in one long
# file that has to be run from the top. Here the notebook only asks questions. The training is a DVC pipeline of
# five stages,
#
#     sample -> pretrain -> finetune -> evaluate -> export
#
# which keeps what each stage made, so that a second run of this notebook trains nothing again, and a run that was
# cut off goes on where it was.
#
# Open it in a checkout of the project: `uv run --group notebook jupyter lab docs/notebooks/quickstart.ipynb`. The first
# training takes two to nine minutes on two cores, and no GPU.

# %%
# %cd -q ../..

import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from benchmarks.three_plates import read_three_plates
from pipeline.inference import Colorizer

# %% [markdown]
# ## A photograph is lightness and color
#
# In the space L\*a\*b\* the first channel is how light a pixel is, and the two others are its color: a\* from green
# to red, b\* from blue to yellow. A black-and-white photograph is L\*. The network sees L\* and paints a\* and b\*.
# (The tutorial, docs/tutorial.md, tells the whole method.)

# %%
# Three gray plates, taken through a blue, a green and a red filter; laid over each other they are a color photograph.
truth = Image.fromarray(read_three_plates(Path("docs/historic/prokudin-gorskii/00398v.jpg"), max_pixels=10**6).rgb)
lab = rgb2lab(np.asarray(truth))
gray = np.concatenate([lab[..., :1], np.zeros_like(lab[..., 1:])], axis=-1)

figure, axes = plt.subplots(1, 4, figsize=(14, 4))
pictures = {"true color of 1905-1915": np.asarray(truth), "L*": lab2rgb(gray), "a*": lab[..., 1], "b*": lab[..., 2]}
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture, cmap="RdYlGn_r" if title == "a*" else "RdYlBu_r", vmin=-60, vmax=60)
    axis.set_title(title)
    axis.axis("off")

# %% [markdown]
# ## Train
#
# Everything that can be changed is in `params.yaml`. `dvc repro` runs the stages whose parameters, code or
# photographs have changed since they last ran, and no others.

# %%
# !dvc repro

# %% [markdown]
# ## How the losses went
#
# First the generator learns from the L1 loss alone; L1 is safe, and a little brown. Then it goes on against a
# PatchGAN.


# %%
def table(path):
    """The rows of a CSV file of numbers, a list by column."""
    with Path(path).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


figure, axes = plt.subplots(1, 2, figsize=(12, 3.5), sharey=True)
for axis, stage in zip(axes, ("pretrain", "finetune"), strict=True):
    history = table(f"reports/{stage}/history.csv")
    axis.plot(history["epoch"], history["valid_ab_mae"], marker="o")
    axis.set(title=stage, xlabel="epoch", ylabel="validation ab_mae, Lab units")

# %% [markdown]
# ## What it is worth
#
# Scores on photographs that training has not seen, with the interval in which the mean would lie for other
# photographs like them. `gray` paints nothing; `lightness_table` gives each lightness the median color it had in
# training, without looking at what is in the photograph. A colorizer that does not beat these two has learned
# nothing.

# %%
metrics = json.loads(Path("reports/evaluate/metrics.json").read_text(encoding="utf-8"))
intervals = json.loads(Path("reports/evaluate/intervals.json").read_text(encoding="utf-8"))
for name in ("gray", "lightness_table", "pretrain", "finetune"):
    low, high = intervals[name]["ab_mae"]
    print(f"{name:16} ab_mae {metrics[name]['ab_mae']:6.2f}  ({low:.2f} to {high:.2f})")

# %% [markdown]
# The number is not the picture. From top to bottom: gray, after pretraining, after fine-tuning, truth.

# %%
Image.open("reports/evaluate/samples.png")

# %% [markdown]
# ## Color a photograph
#
# By the model that was just trained, and by the starter model, which comes with the project. The embedded default
# of `params.yaml` knows regions of five photographs: expect nothing of it on another one. The starter model has
# seen 126,400, before them 113,400, and 80,000 of places.

# %%
plate = Image.fromarray((lab2rgb(gray) * 255).round().astype(np.uint8))
colored = {
    "black and white": plate,
    "trained here": Colorizer.load("checkpoints/export")(plate),
    "starter model": Colorizer.load()(plate),
    "true color": truth,
}
figure, axes = plt.subplots(1, 4, figsize=(14, 4))
for axis, (title, picture) in zip(axes, colored.items(), strict=True):
    axis.imshow(picture)
    axis.set_title(title)
    axis.axis("off")

# %% [markdown]
# ## Change one thing
#
# An experiment is a changed parameter: here the content loss weighs a tenth of what it did beside the adversarial
# one. Sampling and pretraining do not depend on it, so they are not run again. It is compared with the last commit, so
# your first run is committed before.

# %%
# !git commit --quiet --message "My first run" params.yaml dvc.lock reports
# !dvc exp run --set-param finetune.losses.l1=10
# !dvc metrics diff --md --targets reports/finetune/metrics.json

# %% [markdown]
# And back to the last commit; the experiment is kept (`dvc exp show`).

# %%
# !git checkout --quiet params.yaml dvc.lock reports && dvc checkout --quiet

# %% [markdown]
# `docs/how-to/run-experiments.md` goes on from here, and `docs/how-to/train-your-own.md` says how to train on a
# folder of yours.
