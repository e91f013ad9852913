"""Profiles that name a file with measured times: put these in their place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weir.fleet.document import Document, PolynomialTimingSpec, ProfileSpec
from weir.fleet.finding import Finding, Level, at
from weir.fleet.tree import Tree

__all__ = ["measured_profile", "unmeasured", "with_measured"]

_LIMITS = ("kv_tokens", "max_batched_tokens", "max_sequences", "block_tokens")
_STAGES = ("prefill", "decode")


def with_measured(document: Document, tree: Tree, folder: Path) -> tuple[Document, list[Finding]]:
    """The document with what its profiles' files say, and an error for each that says nothing.

    Files are relative to `folder`. What the document says itself goes before.
    """
    findings: list[Finding] = []
    profiles = dict(document.spec.profiles)
    for name, profile in document.spec.profiles.items():
        if profile.file is None:
            continue
        path = ("spec", "profiles", name, "file")
        if "timing" in profile.model_fields_set:
            findings.append(at(tree, path, "either `file` or `timing` says how fast it is"))
            continue
        try:
            profiles[name] = measured_profile(profile, folder / profile.file)
        except ValueError as error:
            findings.append(at(tree, path, str(error)))
    if profiles == document.spec.profiles:
        return document, findings
    spec = document.spec.model_copy(update={"profiles": profiles})
    return document.model_copy(update={"spec": spec}), findings


def unmeasured(document: Document, tree: Tree) -> Iterator[Finding]:
    """A warning for each stage that a profile's file has no times of."""
    for name, profile in document.spec.profiles.items():
        for stage in _STAGES:
            if profile.file is not None and f"{stage}_s" not in profile.timing.model_fields_set:
                message = f"has no {stage} points: {stage} is as a generic engine's"
                path = ("spec", "profiles", name, "file")
                yield at(tree, path, message, level=Level.WARNING)


def measured_profile(profile: ProfileSpec, path: Path) -> ProfileSpec:
    """`profile` with the times of the file. Raises `ValueError` that says why it cannot be."""
    # Here, not above: they stand on numpy, which nobody needs who has no such file.
    from weir.fleet.profile_files import read_measurements
    from weir.fleet.profile_points import decode_of, prefill_of

    points = read_measurements(path)
    told = {name: getattr(points, name) for name in _LIMITS}
    limits = {
        name: limit
        for name, limit in told.items()
        if limit is not None and name not in profile.model_fields_set
    }
    profile = profile.model_copy(update=limits)
    prefill = prefill_of(points, max_batched_tokens=profile.max_batched_tokens)
    decode = decode_of(points, kv_tokens=profile.kv_tokens)
    if prefill is None and decode is None:
        raise ValueError(f"{path.name} has no points")
    timing: dict[str, Any] = {}
    if prefill is not None:
        timing["prefill_s"] = prefill.prefill_s
    if decode is not None:
        timing["decode_s"] = decode.decode_s
        timing["decode_per_sequence_s"] = decode.decode_per_sequence_s
    return profile.model_copy(update={"timing": PolynomialTimingSpec(**timing)})
