"""The fields of the forms that the Prefect UI draws: one name a field, the same in every deployment.

Enumerations are written out, for a form must know them before anything is loaded; a test holds them against the
catalogue and the table of deliverables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from edits.columns import MAX_GUIDANCE, MAX_INSTRUCTION, MAX_SEED, MAX_STEPS


def field(title: str, description: str, examples: Sequence[Any] = (), *, default: Any = None, **rules: Any) -> Any:
    """One field: how the form shows it, and the `rules` that its value keeps (`ge`, `min_length`, ...).

    What is shown travels as extra JSON schema: Prefect puts the parameter's name and the docstring in the place of
    pydantic's own title and description. `default`: what the form fills in where the parameter's own default is None.
    """
    shown: dict[str, Any] = {"title": title, "description": description}
    if examples:
        shown["examples"] = list(examples)
    if default is not None:
        shown["default"] = default
    return Field(json_schema_extra=shown, **rules)


# -- what is edited ---------------------------------------------------------------------------------------------------

Source = Annotated[
    str,
    field(
        title="Video",
        description="Path or URI of the video, as the machine that runs the flow sees it.",
        min_length=1,
        examples=["/footage/dog.mp4", "s3://footage/dog.mov"],
    ),
]
Instruction = Annotated[
    str,
    field(
        title="Instruction",
        description="What to change, in plain words.",
        min_length=1,
        max_length=MAX_INSTRUCTION,
        examples=["make it look like winter", "turn it sepia"],
    ),
]
EditorName = Literal["sama", "grade", "passthrough"]
DeliverableName = Literal[
    "match", "h264", "h265_10bit", "prores_422_hq", "prores_4444", "dnxhr_hqx", "ffv1", "png_sequence"
]
DetailName = Literal["auto", "full", "tone", "upscale"]
ReviewName = Literal["none", "required"]
DecisionName = Literal["approve", "reject", "change"]
OrderName = Literal["newest", "oldest", "name", "smallest", "largest"]
ExecutorName = Literal["as set", "local", "kubernetes"]
PreviewName = Literal["none", "first_chunks", "few_steps"]

Editor = Annotated[
    EditorName,
    field(
        title="Editor",
        description="sama follows any instruction; grade knows colours only (sepia, grayscale, warmer, ...) and needs "
        "no model; passthrough changes nothing.",
    ),
]
Weights = Annotated[
    str, field(title="Weights", description="The editor's model; empty: its default.", examples=["tiny", "14b"])
]
Preset = Annotated[
    str,
    field(
        title="Preset",
        description="A sampling recipe of the weights (quality, balanced, fast, turbo); empty: their first.",
        examples=["quality", "fast"],
    ),
]
Start = Annotated[
    str,
    field(
        title="Start",
        description="The first frame: f120, seconds 12.5s or timecode 01:00:12:05; empty: the first there is.",
        examples=["f120", "12.5s", "01:00:12:05"],
    ),
]
End = Annotated[
    str,
    field(
        title="End",
        description="The frame after the last, written the same way; empty: the end of the video.",
        examples=["f240", "20s", "01:00:20:00"],
    ),
]
Seed = Annotated[int, field(title="Seed", description="Decides the noise.", ge=0, le=MAX_SEED, examples=[7])]
Steps = Annotated[
    int, field(title="Steps", description="Denoising steps; 0: the preset's.", ge=0, le=MAX_STEPS, examples=[30])
]
Guidance = Annotated[
    float,
    field(
        title="Strength",
        description="Guidance: how strongly the instruction is followed; 0: the preset's.",
        ge=0,
        le=MAX_GUIDANCE,
        examples=[4.5],
    ),
]

# -- what is delivered ------------------------------------------------------------------------------------------------

Deliverable = Annotated[
    DeliverableName,
    field(title="Deliverable", description="The kind of file to deliver."),
]
Detail = Annotated[
    DetailName,
    field(
        title="Detail",
        description="auto: as the edit asks for; full: the source's own pixels outside the change; tone: the "
        "source plus the difference everywhere; upscale: the edited picture, enlarged.",
    ),
]
Output = Annotated[
    str,
    field(
        title="Output",
        description="A file, or a folder (ends with /); empty: the usual folder.",
        examples=["/deliverables/dog_winter.mp4", "/deliverables/"],
    ),
]
Overwrite = Annotated[bool, field(title="Overwrite", description="Replace deliverables that are already there.")]
Review = Annotated[
    ReviewName,
    field(
        title="Review",
        description="required: the finished file waits until somebody approves it; none: it is delivered at once.",
    ),
]
PreviewChoice = Annotated[
    PreviewName,
    field(
        title="Preview",
        description="first_chunks: edit only the beginning of each shot; few_steps: edit all of it roughly. Then the "
        "job waits for approval, and what the preview made is used again.",
    ),
]

# -- where it runs ----------------------------------------------------------------------------------------------------

# The form fills in a default, and the server holds it against the schema: so there None has to be an empty value.
Store = Annotated[
    str | None,
    field("Store", "URI of the store; empty: as set.", ["s3://bucket/samaflow"], default=""),
    WithJsonSchema({"type": "string"}),
]
Workers = Annotated[
    int | None,
    field("Workers", "Local worker processes; 0: as set.", [1], default=0, ge=0, le=256),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 256}),
]
MaxGpuHours = Annotated[
    float,
    field(
        title="GPU-hours at most",
        description="Once they are spent nothing more is begun; what is going on is finished. 0: no limit.",
        ge=0,
        examples=[8],
    ),
]
ExecutorChoice = Annotated[
    ExecutorName, field(title="Workers run", description="On this machine, in the cluster, or as the settings say.")
]
Allow = Annotated[
    list[str] | None,
    field(
        "Allowed folders",
        "Folders that may be read and written, beside those that are set.",
        [["/footage", "/deliverables"]],
        default=[],
    ),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
StrictPrompts = Annotated[
    bool | None,
    field("Strict prompts", "Fail a prompt of more than 512 tokens instead of cutting it; off: as set.", default=False),
    WithJsonSchema({"type": "boolean"}),
]

NOTHING: list[str] = []
"""The default of a list; never changed."""


def cell(value: float) -> str:
    """A number of a form as a manifest's cell: 0 is what an empty cell means."""
    return repr(value) if value else ""


def named(executor: ExecutorName) -> str:
    """The executor that a choice names; empty for that of the settings."""
    return "" if executor == "as set" else executor
