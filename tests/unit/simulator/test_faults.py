"""Faults by name, and when they happen. What each does is seen in tests/simulation."""

from pathlib import Path

import pytest

from tests.unit.simulator.worlds import Scripted, scenario
from weir.domain.errors import WeirError
from weir.simulator.faults import FAULTS, install, named
from weir.simulator.faults.port import Heal, Stage
from weir.simulator.faults.timed import Span
from weir.simulator.journal import Journal
from weir.simulator.world import World


def test_faults_are_named_in_the_tables_order_and_once() -> None:
    assert named(["partition", "loss", "loss"]) == ("loss", "partition")
    assert named(["all"]) == named(["loss", "all"]) == tuple(FAULTS)
    assert named(["none"]) == named([]) == ()


def test_an_unknown_fault_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(
        WeirError, match=r"there is no fault 'fire'; there are loss, delay, .*, all"
    ):
        named(["loss", "fire"])


def test_a_fault_may_have_a_time_of_its_own() -> None:
    assert named(["silence@60+30", "loss", "silence@9+1"]) == (
        "loss",
        "silence@60+30",
        "silence@9+1",
    )
    assert named(["silence@60+30", "all"]) == tuple(
        text
        for name in FAULTS
        for text in ([f"{name}@60+30"] if name == "silence" else []) + [name]
    )


@pytest.mark.parametrize(
    "text", ["silence@", "silence@60", "silence@60+", "silence@60+0", "silence@-1+5", "silence@a+5"]
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(WeirError, match=r"is not silence@START\+SECONDS, such as silence@600\+300"):
        named([text])


def test_an_unknown_fault_is_refused_with_a_time_as_well() -> None:
    with pytest.raises(WeirError, match="there is no fault 'all'"):
        named(["all@60+30"])


def test_each_says_in_a_line_what_it_does() -> None:
    helps = [make().help for make in FAULTS.values()]
    assert all(text and "\n" not in text and not text.endswith(".") for text in helps)
    assert len(set(helps)) == len(helps)


def world(tmp_path: Path, seed: int = 0) -> tuple[World, list[dict[str, object]]]:
    events: list[dict[str, object]] = []
    made = World(
        scenario(tmp_path, [(1.0, 500, 11)], to_s=300.0, seed=seed),
        Scripted(),
        Journal(events.append),
    )
    return made, events


class Trouble:
    """Begins and ends, every ten seconds or so for five to twenty."""

    name = "trouble"
    help = "it is broken"
    of_roles = False

    def __init__(self) -> None:
        self.broken = 0

    def start(self, stage: Stage) -> None:
        def begin() -> Heal:
            self.broken += 1
            stage.note("begins")
            return heal

        def heal() -> None:
            self.broken -= 1
            stage.note("over")

        stage.episodes(10.0, (5.0, 20.0), begin)


def test_an_episode_is_over_before_the_next_and_all_are_when_calm_begins(tmp_path: Path) -> None:
    made, events = world(tmp_path)
    trouble = Trouble()
    trouble.start(Stage(made, trouble))
    made.run()
    times = [(event["at_s"], event["what"]) for event in events if event["event"] == "fault"]
    assert [what for _, what in times] == ["begins", "over"] * (len(times) // 2)
    assert 10.0 <= times[0][0] <= times[-1][0] <= 200.0
    assert trouble.broken == 0


def test_with_a_time_of_its_own_it_is_one_episode_of_just_that(tmp_path: Path) -> None:
    made, events = world(tmp_path)
    trouble = Trouble()
    trouble.start(Stage(made, trouble, span=Span(begin_s=220.0, end_s=290.0)))
    made.run()
    times = [(event["at_s"], event["what"]) for event in events if event["event"] == "fault"]
    assert times == [(220.0, "begins"), (290.0, "over")]


def test_what_has_a_time_of_its_own_does_nothing_before_and_after(tmp_path: Path) -> None:
    made, events = world(tmp_path)
    install(made, ["slow-starts@100+50"])
    pool_id = next(iter(made.cluster.pools))

    def start_and_stop() -> None:
        replica = made.cluster.start(pool_id)
        assert replica is not None
        made.cluster.remove(replica)

    made.every(2.0, start_and_stop)
    made.run()
    times = [event["at_s"] for event in events if event["event"] == "fault"]
    assert times and 100.0 <= min(times) <= max(times) < 150.0


def test_other_policies_are_spared_what_befalls_weirs_own_processes(tmp_path: Path) -> None:
    made, events = world(tmp_path)
    install(made, ["all"])
    made.run()
    of_roles = {name for name, make in FAULTS.items() if make().of_roles}
    happened = {event["fault"] for event in events if event["event"] == "fault"}
    assert happened
    assert not happened & of_roles


def test_the_same_seed_has_the_same_faults_and_another_one_others(tmp_path: Path) -> None:
    def happenings(seed: int) -> list[dict[str, object]]:
        made, events = world(tmp_path, seed)
        install(made, ["all"])
        made.run()
        return events

    assert happenings(1) == happenings(1) != happenings(2)
