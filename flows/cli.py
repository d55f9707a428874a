"""The command line: `samaflow COMMAND`. Parses, calls one plain function, prints; owns the exit codes.

0: all rows delivered, or the question answered. 1: some rows failed. 2: the call or the whole manifest is unusable.
Prefect and the media libraries are imported by the commands that need them, so that `samaflow status` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows import decisions, hosting, libraries, questions, steering, timeline, training, upkeep
from flows.command import (
    FAILED,
    AsJson,
    asked_database,
    database_of,
    end_on_sigterm,
    print_json,
    print_record,
    problems,
    settings_here,
)
from flows.forms import named
from flows.options import Allow, Executor, GpuHours, Overwrite, Preview, Store, StrictPrompts, Workers
from flows.prefect_here import prefect_for

if TYPE_CHECKING:
    from tasks.conclude import Summary

app = typer.Typer(
    help="Restyle and edit whole video libraries from plain instructions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
model_app = typer.Typer(help="Convert, look at, record and check weights.", no_args_is_help=True)
app.add_typer(model_app, name="model")
app.add_typer(questions.commands)
app.add_typer(upkeep.commands)
app.add_typer(timeline.commands, name="timeline")
app.add_typer(libraries.commands)
app.add_typer(decisions.commands)
app.add_typer(hosting.commands)
app.add_typer(steering.commands)
app.add_typer(training.commands)

Manifest = Annotated[str, typer.Argument(help="Path or URI of a CSV manifest; docs/manifest.md describes its columns.")]
Job = Annotated[str, typer.Argument(help="Job id, or the beginning of one.")]
Weights = Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="Weights by name, or a path to their folder.")]
Dtype = Literal["bfloat16", "float16", "float32"]


# -- running ----------------------------------------------------------------------------------------------------------


@app.command()
def edit(
    manifest: Manifest,
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    strict_prompts: StrictPrompts = None,
    preview: Preview = "none",
    executor: Executor = "as set",
    max_gpu_hours: GpuHours = 0.0,
    as_json: AsJson = False,
) -> None:
    """Edit every row of a manifest and publish the deliverables. After a crash the same command goes on."""
    with problems():
        _refuse_unusable(manifest, store=store, executor=None if executor == "as set" else executor)

    def flow() -> Summary:
        from flows.edit_manifest import edit_manifest

        return edit_manifest(
            manifest,
            "",
            store,
            workers,
            allow,
            overwrite,
            preview=preview,
            strict_prompts=strict_prompts,
            executor=executor,
            max_gpu_hours=max_gpu_hours,
        )

    _run_flow(flow, as_json=as_json, store=store)


def _refuse_unusable(manifest: str, **overrides: object) -> None:
    """Say what is no manifest, and what no workers can run with, before Prefect is loaded, and its server started, for
    nothing.

    Raises:
        ManifestError: the file cannot be read, or nothing in it can be used.
        SettingsError: settings that cannot be used, `overrides` among them.
    """
    from edits.manifest import read_manifest
    from tasks.executors import check_executor
    from tasks.intake import read_manifest_file

    if not manifest.startswith(("file:", "s3:")):
        path = Path(manifest).absolute()
        read_manifest(read_manifest_file(path, manifest), path.name)
    check_executor(settings_here(**overrides))


@app.command()
def retry(
    job: Job,
    chunks: Annotated[str, typer.Option(help="Numbers of chunks to edit again, e.g. 0,3.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed; makes it another job.")] = None,
    shot: Annotated[
        int | None, typer.Option(min=1, help="Number of a shot, from 1: --seed and --instruction are for it alone.")
    ] = None,
    instruction: Annotated[str, typer.Option(help="Another instruction; makes it another job.")] = "",
    variants: Annotated[int, typer.Option(min=1, max=32, help="So many jobs, each with the next seed.")] = 1,
    store: Store = None,
    workers: Workers = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    executor: Executor = "as set",
    max_gpu_hours: GpuHours = 0.0,
    as_json: AsJson = False,
) -> None:
    """Run one recorded job again, as it is or changed; a changed one is delivered as the next version, x_v002.mov."""
    try:
        numbers = [int(number) for number in chunks.split(",") if number]
    except ValueError as error:
        raise typer.BadParameter(
            f"{chunks!r}: write chunk numbers with commas, e.g. 0,3", param_hint="--chunks"
        ) from error

    with problems():
        from tasks.retry import Change, again
        from tasks.run import open_run

        kind = named(executor)
        with open_run([], allow, overwrite=overwrite, store=store, workers=workers, executor=kind) as run:
            again(run, job, Change(tuple(numbers), shot, seed, instruction, variants))  # refused before a server starts

    def flow() -> Summary:
        from flows.edit_manifest import retry_job

        return retry_job(
            job,
            numbers,
            seed,
            shot,
            instruction,
            variants,
            store=store,
            workers=workers,
            allow=allow,
            overwrite=overwrite,
            executor=executor,
            max_gpu_hours=max_gpu_hours,
        )

    _run_flow(flow, as_json=as_json, store=store)


@app.command()
def pick(
    job: Job,
    output: Annotated[
        str, typer.Argument(metavar="FILE", help="Where the picked deliverable goes; written as a row's output.")
    ],
    allow: Allow = None,
    overwrite: Overwrite = False,
) -> None:
    """Put the deliverable of one job, of several variants, where it is wanted; the others stay where they are."""
    with problems():
        from tasks.pick import pick as put
        from tasks.run import trust_of

        settings = settings_here()
        picked = put(settings, job, output, trust_of(settings, (), allow), overwrite=overwrite)
        typer.echo(f"picked: {picked}")


def _run_flow(flow: Callable[[], Summary], *, as_json: bool, store: str | None) -> None:
    end_on_sigterm()
    with problems(), prefect_for(settings_here(store=store)):
        from flows import display
        from tasks.conclude import SomeJobsFailedError

        with display.watching():
            try:
                summary = flow()
            except SomeJobsFailedError as error:
                summary = error.summary
        print_record(summary) if as_json else display.print_summary(summary)
    if summary.failed:
        raise typer.Exit(FAILED)


# -- asking -----------------------------------------------------------------------------------------------------------


@app.command()
def plan(
    manifest: Manifest,
    quick: Annotated[
        bool, typer.Option("--quick", help="Trust file headers instead of decoding; cuts stay unknown.")
    ] = False,
    store: Store = None,
    allow: Allow = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Validate a manifest and say what it will take: frames, chunks, time, bytes. Runs nothing."""
    with problems():
        from flows import display
        from tasks.forecast import forecast
        from tasks.intake import read_order
        from tasks.manifest_place import find_manifest
        from tasks.run import open_run

        found = find_manifest(manifest, "")
        with open_run(found.folders, allow, store=store, overwrite=overwrite) as run:
            order = read_order(run, found.read(run), found.name, found.base)
            result = forecast(run, order, quick=quick)
        print_record(result) if as_json else display.print_forecast(result)
    if any(row.error for row in result.rows):
        raise typer.Exit(FAILED)


@app.command()
def status(
    job: Annotated[str | None, typer.Argument(help="Job id, or the beginning of one; without it, all jobs.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Jobs at most, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show jobs and where they are; works while a run is going."""
    with problems():
        from flows import status as answer

        db = asked_database(settings_here())
        result = answer.jobs(db, limit) if job is None else answer.history(db, job)
        print_record(result) if as_json else answer.show(result)


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Remove leftovers of runs that died.")] = False,
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring the database to this version's tables.")] = False,
    cluster: Annotated[bool, typer.Option("--cluster", help="Look at the Kubernetes cluster too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is missing or left over on this machine or cluster, and how to mend it."""
    with problems():
        from flows import doctor as examination

        settings = settings_here()
        findings = examination.examine(settings, fix=fix, migrate=migrate)
        if cluster:
            findings += examination.examine_cluster(settings)
            findings += examination.leftovers(settings, fix=fix)
        print_json([finding.as_dict() for finding in findings]) if as_json else examination.show(findings)
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(FAILED)


@model_app.command()
def convert(
    sama: Annotated[Path, typer.Option(help="sama_14b_ema.safetensors; alone it holds the whole transformer.")],
    text_encoder: Annotated[Path, typer.Option(help="models_t5_umt5-xxl-enc-bf16.pth.")],
    vae: Annotated[Path, typer.Option(help="Wan2.1_VAE.pth.")],
    tokenizer: Annotated[Path, typer.Option(help="Folder of the tokenizer google/umt5-xxl.")],
    wan: Annotated[list[Path] | None, typer.Option(help="A shard of Wan2.1-T2V-14B under SAMA's; repeatable.")] = None,
    name: Annotated[str, typer.Option(help="Name of the weights, as rows write it.")] = "14b",
    heads: Annotated[int | None, typer.Option(help="Attention heads, where they are not 128 wide.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Cast everything to it; else the files' own is kept.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the weights folder NAME from released files."""
    with problems():
        from flows import models

        target = models.new_folder(settings_here().weights_folder, name)
        line = models.convert(sama, text_encoder, vae, tokenizer, tuple(wan or ()), target, heads, dtype)
        print_record(line) if as_json else models.show(line, configuration=False)


@model_app.command()
def lora(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Weights that the LoRA is for.")],
    file: Annotated[Path, typer.Argument(help="The LoRA, a .safetensors file.")],
    name: Annotated[str, typer.Option(help="Name of the new weights, as rows write it.")],
    scale: Annotated[float, typer.Option(help="How much of the LoRA is added.")] = 1.0,
) -> None:
    """Make the weights NAME of others and a distilled LoRA; they get the presets turbo and turbo8."""
    with problems():
        from flows import models

        target = models.new_folder(settings_here().weights_folder, name)
        card = models.add_lora(models.folder_of(base, settings_here()), file, scale, target)
        typer.echo(f"{card.name}: {card.digest}")


@model_app.command()
def fetch(
    uri: Annotated[
        str, typer.Argument(metavar="URI", help="Folder of weights in a store; its last part is their name.")
    ],
    digest: Annotated[str | None, typer.Option(help="The only digest that will do.")] = None,
) -> None:
    """Copy weights from a store into the weights folder and verify every tensor; again is harmless."""
    with problems():
        from flows.fetch import fetch as fetch_weights

        settings = settings_here()
        fetch_weights(uri, settings.endpoint_url, settings.weights_folder, digest, typer.echo)


@model_app.command()
def inspect(
    weights: Weights,
    verify: Annotated[bool, typer.Option("--verify", help="Read every tensor and compare the digests.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is in a folder of weights: configuration, parameters, dtype, digest."""
    with problems():
        from flows import models

        line = models.inspect(models.folder_of(weights, settings_here()), verify=verify)
        print_record(line) if as_json else models.show(line)


@model_app.command()
def register(weights: Weights, as_json: AsJson = False) -> None:
    """Record weights and their digest in the database, so that lineage can point at them before they are used."""
    with problems():
        from flows import models

        line = models.register(database_of(settings_here()), models.folder_of(weights, settings_here()))
        print_record(line) if as_json else typer.echo(f"{line.name}: {line.digest} is recorded")


@model_app.command()
def parity(
    recording: Annotated[Path, typer.Argument(help="Folder of a recording of the official pipeline.")],
    as_json: AsJson = False,
) -> None:
    """Compare this implementation with a recording of the official one: tensor name to relative error.

    The exit code is 1 if an error is over its limit.
    """
    with problems():
        from flows import models
        from flows import status as answer

        with models.translated():
            from sama_model.parity import compare, limit

            errors = compare(recording)
        limits = {name: limit(name) for name in errors}
        print_json(errors) if as_json else answer.show_parity(errors, limits)
    if not all(errors[name] <= limits[name] for name in errors):  # so written, NaN is over its limit too
        raise typer.Exit(FAILED)


# -- the process ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
