"""The tree keeps its own rules: rooms, exported names, locks, and documents that are true."""

import functools
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from weir.cli import COMMANDS
from weir.runtime import names

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("weir", "globalplanner", "poolplanner", "router")
ROLES = ("globalplanner", "poolplanner", "router")
LOCKS = ("run", "test", "dev")

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"\bmake ((?:-\S+ )*)([a-z][a-z-]*)")
ELSEWHERE = re.compile(r"(?<![\w.}$~>*-])/(?:home|root|Users|work)/\w|/tmp/" + "plan")


@functools.cache
def tracked() -> tuple[str, ...]:
    """Files of the tree as they would be committed now, relative to its root."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git clone to tell the tree's files from others")
    return tuple(name for name in listing.stdout.splitlines() if (ROOT / name).is_file())


def modules() -> list[str]:
    """Names of all modules written by hand, packages only if they export something."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if "api" not in path.relative_to(ROOT).parts
        and path.name != "__main__.py"
        and (path.name != "__init__.py" or "import" in path.read_text())
    ]


def documents() -> list[Path]:
    return [ROOT / name for name in tracked() if name.endswith(".md")]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def headings(document: Path) -> set[str]:
    """Anchors of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(document: Path) -> list[str]:
    """Targets of its links to files of the tree."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = [match["target"] for match in LINK.finditer(text)]
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("name", modules())
def test_a_module_says_what_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    exported = module.__all__
    assert len(exported) == len(set(exported))
    assert [each for each in exported if not hasattr(module, each)] == []


def test_no_package_is_without_an_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    floor = next(each for each in settings["contracts"] if "know the roles" in each["name"])
    knowing = {"weir.alone", "weir.cli", "weir.local", "weir.simulator", "weir.__main__"}
    parts = {
        f"weir.{path.stem}"
        for path in (ROOT / "weir").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - knowing - {"weir.__init__"} == set(floor["source_modules"])


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_the_same_rooms(role: str) -> None:
    rooms = ("core", "adapters", "ports.py", "service.py", "config.py", "metrics.py", "app.py")
    assert [room for room in rooms if not (ROOT / role / room).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_configured_and_run(command: str) -> None:
    module = importlib.import_module(COMMANDS[command][0])
    assert callable(module.configure)
    assert callable(module.run)


def test_the_command_lists_its_commands() -> None:
    weir = [sys.executable, "-m", "weir", "--help"]
    shown = subprocess.run(weir, capture_output=True, text=True, check=True, timeout=20).stdout
    assert [name for name in COMMANDS if name not in shown] == []


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_pins_with_hashes_and_names_no_index(kind: str) -> None:
    text = (ROOT / f"requirements/{kind}.lock").read_text()
    assert not re.search(r"://|^\s*-|^/|@ |file:", text.replace("    --hash=", ""), re.MULTILINE)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_locks_hold_what_pyproject_asks_for_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = {
        "run": [
            *project["project"]["dependencies"],
            *extras["report"],
            *project["build-system"]["requires"],
        ],
        "test": [
            *[line for line in extras["test"] if not line.startswith("weir[")],
            *extras["forecast"],
            *extras["tokenizers"],
        ],
        "dev": [line for line in extras["dev"] if line != "weir[test]"],
    }
    pins: dict[str, str] = {}
    for kind in LOCKS:
        lines = re.findall(r"^([\w.-]+)==([^ ;]+)", _lock(kind), re.MULTILINE)
        pinned = {canonicalize_name(name): version for name, version in lines}
        assert pins.items() <= pinned.items(), f"{kind}.lock lacks or moves a pin"
        for requirement in map(Requirement, wanted[kind]):
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])
        pins = pinned


def _lock(kind: str) -> str:
    return (ROOT / f"requirements/{kind}.lock").read_text()


def test_ci_runs_what_the_readme_names() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "make check" in script
    assert "make test" in script
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_no_file_names_a_place_outside_the_tree() -> None:
    own = str(Path(__file__).relative_to(ROOT))
    found = [
        f"{name}: {match.group()}"
        for name in tracked()
        if name != own and not name.endswith((".gz", ".png"))
        for match in ELSEWHERE.finditer((ROOT / name).read_text(errors="replace"))
    ]
    assert found == []


def test_links_between_documents_lead_somewhere() -> None:
    dead = []
    for document in documents():
        for target in links(document):
            path, _, anchor = target.partition("#")
            place = (document.parent / path).resolve() if path else document
            known = headings(place) if place.suffix == ".md" and place.is_file() else {anchor}
            if not place.exists() or (anchor and anchor not in known):
                dead.append(f"{document.relative_to(ROOT)}: {target}")
    assert dead == []


def test_every_document_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        document = todo.pop()
        if document in reached or document.suffix != ".md" or not document.is_file():
            continue
        reached.add(document)
        todo += [(document.parent / link.partition("#")[0]).resolve() for link in links(document)]
    assert sorted(str(path.relative_to(ROOT)) for path in set(documents()) - reached) == []


def test_documents_name_targets_that_exist() -> None:
    targets = make_targets()
    named = {
        (str(document.relative_to(ROOT)), target)
        for document in documents()
        for code in CODE.findall(document.read_text())
        for _, target in MAKE.findall(code)
    }
    assert [each for each in sorted(named) if each[1] not in targets] == []


def test_documents_name_paths_that_exist() -> None:
    tops = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    missing = [
        f"{document.relative_to(ROOT)}: {path}"
        for document in documents()
        for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", document.read_text())
        if path.split("/")[0] in tops and not (ROOT / path).exists()
    ]
    assert missing == []


def test_the_messages_reference_names_every_message_method_and_name_on_the_bus() -> None:
    reference = (ROOT / "docs/reference/messages.md").read_text()
    protos = "\n".join(path.read_text() for path in (ROOT / "proto").rglob("*.proto"))
    methods = re.findall(r"^\s*(?:message|service|rpc|enum) (\w+)", protos, re.MULTILINE)
    assert [name for name in methods if name not in reference] == []
    on_the_bus = [
        names.traffic_subject("FLEET", "ROUTER"),
        names.load_subject("FLEET", "ROUTER"),
        names.fpm_subject("FLEET", "POOL", "WORKER"),
        names.members_bucket("FLEET"),
        f"{names.plan_bucket('FLEET')}/{names.PLAN_KEY}",
        f"{names.ledger_bucket('FLEET')}/{names.RECORD_KEY}",
    ]
    assert [name for name in on_the_bus if name not in reference] == []
