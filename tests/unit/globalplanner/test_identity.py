"""Who is known by what, and which identities files are refused."""

import hashlib
from pathlib import Path

import pytest

from globalplanner.access.identity import ANYBODY, OpenDoor
from globalplanner.access.identity_file import IdentityFile, read_identities
from weir.domain.errors import CredentialsError


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


FILE = f"""\
- {{name: chat, token_sha256: {digest("of-chat")}, pools: [chat-a, chat-b]}}
- {{name: planners, subject: planners.example.org, pools: "*"}}
- {{name: ops, token_sha256: {digest("of-ops").upper()}, operator: true}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "identities.yaml"
    path.write_text(FILE)
    return path


def test_a_token_is_bound_to_its_pools(path: Path) -> None:
    chat = read_identities(path).of("of-chat", ())
    assert chat is not None
    assert (chat.name, chat.operator) == ("chat", False)
    assert chat.may_report("chat-a")
    assert not chat.may_report("batch")


def test_an_operator_reports_for_nobody_unless_it_has_pools(path: Path) -> None:
    ops = read_identities(path).of("of-ops", ())
    assert ops is not None
    assert ops.operator
    assert not ops.may_report("chat-a")


def test_a_star_is_every_pool(path: Path) -> None:
    planners = read_identities(path).of(None, ["other.example.org", "planners.example.org"])
    assert planners is not None
    assert planners.may_report("anything")


@pytest.mark.parametrize(
    ("token", "subjects"),
    [
        ("wrong", ()),
        ("", ()),
        (None, ()),
        (None, ("stranger",)),
        (digest("of-chat"), ()),
        ("chat", ("chat",)),
        ("\udcff", ()),
    ],
)
def test_what_proves_nothing_is_nobody(
    path: Path, token: str | None, subjects: tuple[str, ...]
) -> None:
    assert read_identities(path).of(token, subjects) is None


def test_a_wrong_token_is_not_mended_by_a_certificate(path: Path) -> None:
    assert read_identities(path).of("wrong", ["planners.example.org"]) is None


def test_without_identities_everybody_may_do_everything() -> None:
    assert OpenDoor().of(None, ()) is ANYBODY
    assert ANYBODY.operator and ANYBODY.may_report("any")


SECRET = "7d9f-secret"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("[]", "nobody"),
        ("- just text", "line 1: 0"),
        ("- {name: a}", "needs either token_sha256 or subject"),
        (f"- {{name: a, subject: s, token_sha256: {'a' * 64}}}", "needs either"),
        (f"- {{name: a, token_sha256: {SECRET}}}", "line 1: 0.token_sha256"),
        (f"- {{name: a, token: {SECRET}}}", "0.token"),
        ("- {name: a, subject: s, operator: yes}", "0.operator"),
        ("- {name: a, subject: s, pools: all}", "0.pools"),
        ("- {name: a, subject: s}\n- {name: a, subject: t}", "the name 'a'"),
        ("- {name: a, subject: s}\n- {name: b, subject: s}", "the subject 's'"),
        (
            f"- {{name: a, token_sha256: {'a' * 64}}}\n- {{name: b, token_sha256: {'A' * 64}}}",
            "same token",
        ),
        ("- {name: a\n", "not YAML"),
        ("- {name: a, subject: s, subject: t}", "subject"),
    ],
)
def test_a_file_that_leaves_open_who_calls_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "identities.yaml"
    path.write_text(text)
    with pytest.raises(CredentialsError) as caught:
        read_identities(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"nowhere\.yaml: cannot be read"):
        IdentityFile(tmp_path / "nowhere.yaml")


def replace(path: Path, text: str) -> None:
    """As secrets are mounted: another file in its place."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_a_changed_file_counts_from_the_next_look(path: Path) -> None:
    file = IdentityFile(path)
    replace(path, f"- {{name: ops, token_sha256: {digest('renewed')}, operator: true}}\n")
    assert file.of("of-chat", ()) is not None
    file.look()
    assert file.of("of-chat", ()) is None
    assert file.of("renewed", ()) is not None


@pytest.mark.parametrize("text", ["", "- {name: a}\n", "\xff"])
def test_a_file_that_breaks_leaves_the_identities_there_were(path: Path, text: str) -> None:
    file = IdentityFile(path)
    replace(path, text)
    file.look()
    assert file.of("of-chat", ()) is not None
    path.unlink()
    file.look()
    assert file.of("of-chat", ()) is not None
    replace(path, f"- {{name: ops, token_sha256: {digest('renewed')}}}\n")
    file.look()
    assert file.of("renewed", ()) is not None
