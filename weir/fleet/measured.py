"""Profiles that name a file with measured times: put these in their place."""

from pathlib import Path

from weir.fleet.document import Document, PolynomialTimingSpec, ProfileSpec
from weir.fleet.finding import Finding, at
from weir.fleet.profile_files import read_measurements
from weir.fleet.profile_points import polynomials_of
from weir.fleet.tree import Tree

__all__ = ["measured_profile", "with_measured"]


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


def measured_profile(profile: ProfileSpec, path: Path) -> ProfileSpec:
    """`profile` with the times of the file. Raises `ValueError` that says why it cannot be."""
    points = read_measurements(path)
    kv_tokens = profile.kv_tokens
    if points.kv_tokens is not None and "kv_tokens" not in profile.model_fields_set:
        kv_tokens = points.kv_tokens
    fitted = polynomials_of(
        points, kv_tokens=kv_tokens, max_batched_tokens=profile.max_batched_tokens
    )
    timing = PolynomialTimingSpec(
        prefill_s=fitted.prefill_s,
        decode_s=fitted.decode_s,
        decode_per_sequence_s=fitted.decode_per_sequence_s,
    )
    return profile.model_copy(update={"timing": timing, "kv_tokens": kv_tokens})
