"""Values of params.yaml that are each allowed, but not together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.params.schema import Params

# Heusel et al. write so beside their code, and recommend 10,000.
FEWEST_FOR_FID = 2048
# Keys of the block generator that only dynamic_unet has.
OF_DYNAMIC_UNET = ("backbone", "decoder", "max_width", "last_cross")


def contradictions(params: Params) -> list[str]:
    """Return a sentence for each contradiction."""
    problems = []
    if params.pretrain.epochs and not any(params.pretrain.losses.values()):
        problems.append(f"pretrain.losses must give a loss a weight > 0, got {params.pretrain.losses}")
    for name, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        if block.epochs and block.batch_size == 1:
            problems.append(f"{name}.batch_size must be >= 2: batch normalization has nothing to compare, got 1")
        if block.epochs and block.batch_size > params.sample.train:
            problems.append(
                f"{name}.batch_size must be <= sample.train ({params.sample.train}), got {block.batch_size}"
            )
        processes = params.base.processes
        if block.epochs and processes != "auto":
            problems.extend(unshareable(f"{name}.batch_size", block.batch_size, processes))
    for name, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        late = [epoch for epoch in block.keep_epochs if epoch > block.epochs]
        if late:
            problems.append(f"{name}.keep_epochs must be <= {name}.epochs ({block.epochs}), got {late[0]}")
    if params.sample.group != "none" and params.sample.source != "folder":
        problems.append(
            f"sample.group must be none for sample.source {params.sample.source}, got {params.sample.group!r}; only "
            "the files of a folder have folders and neighbors"
        )
    if params.sample.weights != "none" and params.sample.source != "folder":
        problems.append(
            f"sample.weights must be none for sample.source {params.sample.source}; only a folder has kinds below it"
        )
    if params.generator.hints and (params.base.color_space != "lab" or params.generator.noise == "input"):
        problems.append(
            "generator.hints must be false with base.color_space rgb, and with generator.noise input; got true"
        )
    learns_nothing = not params.finetune.judged and not any(params.finetune.losses.values())
    if params.finetune.epochs and learns_nothing:
        problems.append(
            "finetune.losses must give a loss a weight > 0 with finetune.adversarial_loss none, got "
            f"{params.finetune.losses}"
        )
    full = params.sample.train // params.finetune.batch_size
    steps = params.finetune.epochs * min(full, params.finetune.epoch_steps or full)
    if steps and params.finetune.warmup_steps >= steps:
        problems.append(
            f"finetune.warmup_steps must be < all {steps} steps of finetune, got {params.finetune.warmup_steps}; "
            "the generator would never learn"
        )
    if params.generator.architecture != "dynamic_unet" and params.generator.weights != "none":
        problems.append(
            f"generator.weights must be none for generator.architecture {params.generator.architecture}, "
            f"which has no backbone, got {params.generator.weights!r}"
        )
    if params.generator.architecture != "dynamic_unet" and params.pretrain.encoder_lr_factor != 1:
        problems.append(
            f"pretrain.encoder_lr_factor must be 1 for generator.architecture {params.generator.architecture}, "
            f"which has no backbone, got {params.pretrain.encoder_lr_factor:g}"
        )
    # The stride-2 layers of the 286 discriminator leave nothing of smaller photographs.
    smallest = {1: 32, 16: 32, 70: 32, 286: 128}[params.discriminator.receptive_field]
    if params.finetune.epochs and params.finetune.judged and params.base.image_size < smallest:
        problems.append(
            f"base.image_size must be >= {smallest} for discriminator.receptive_field "
            f"{params.discriminator.receptive_field}, got {params.base.image_size}"
        )
    if not params.finetune.judged and params.finetune.warmup_steps:
        problems.append(
            "finetune.warmup_steps must be 0 with finetune.adversarial_loss none, where no discriminator learns, got "
            f"{params.finetune.warmup_steps}"
        )
    shown = params.finetune.judged or params.finetune.losses.get("color_distribution")
    if params.finetune.target_saturation != 1 and not shown:
        problems.append(
            "finetune.target_saturation must be 1 without a discriminator and without the loss color_distribution: no "
            f"other loss is shown saturated colors; got {params.finetune.target_saturation:g}"
        )
    if params.export.dial and params.export.variant == "int8":
        problems.append("export.dial must be false with export.variant int8, whose rounded weights cannot be mixed")
    if params.export.dial and params.finetune.goes_on:
        problems.append(
            f"export.dial must be false with finetune.start_from {params.finetune.start_from}: only a generator that "
            "began with pretrain's can be mixed with it"
        )
    measured_on = params.sample.test or params.sample.valid
    if params.evaluate.fid_weights != "none" and measured_on < FEWEST_FOR_FID:
        problems.append(
            f"evaluate.fid_weights must be none with fewer than {FEWEST_FOR_FID} photographs in sample.test: the "
            f"covariance of FID's {FEWEST_FOR_FID} features needs as many, got {measured_on}"
        )
    return problems


def without_effect(params: Params) -> list[str]:
    """Return a sentence for each value that changes nothing beside the others."""
    generator, found = params.generator, []
    defaults = type(generator)()
    if generator.architecture != "dynamic_unet":
        others = [key for key in OF_DYNAMIC_UNET if getattr(generator, key) != getattr(defaults, key)]
        found += [f"generator.{key}, which {generator.architecture} does not have" for key in others]
    elif generator.decoder == "halved" and generator.last_cross:
        found.append("generator.last_cross, which decoder halved does not have")
    if generator.weights != "none" and params.pretrain.start_from != "none":
        found.append(f"generator.weights, since pretrain starts from the weights of {params.pretrain.start_from}")
    for name, block in (("pretrain", params.pretrain), ("finetune", params.finetune)):
        each = params.sample.train // block.batch_size
        if block.epochs and block.epoch_steps > each:
            found.append(f"{name}.epoch_steps {block.epoch_steps}: an epoch has {each} steps")
        late = [epoch for epoch in block.sample_epochs if epoch > block.epochs]
        if late and block.epochs:
            found.append(f"{name}.sample_epochs beyond {block.epochs}, the last epoch: {', '.join(map(str, late))}")
    return found


def unshareable(key: str, batch_size: int, processes: int) -> list[str]:
    """Return the sentence about a batch that processes cannot share, with two photographs for each at least; [] for
    none.
    """
    if processes == 1 or (batch_size % processes == 0 and batch_size >= 2 * processes):
        return []
    return [
        f"{key} must be a multiple of the number of processes ({processes}), and at least twice as many, "
        f"got {batch_size}"
    ]
