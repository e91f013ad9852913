"""Whatever Dynamo planners ask for and whatever fails, the budget holds, and it comes to rest."""

from random import Random

import pytest

from tests.unit.globalplanner.dynamo_world import World, sized

SEEDS = 40
_STEPS = 25
_DEPLOYMENTS = ("a", "b", "c", "d")


def contended(rng: Random) -> World:
    """Pools of unequal size and weight, and more to ask for than there is."""
    specs = [
        sized(
            name,
            gpus_per_replica=rng.choice([1, 1, 2, 4]),
            weight=rng.choice([1.0, 1.0, 2.0]),
            min_replicas=rng.randint(0, 1),
            max_replicas=8,
        )
        for name in _DEPLOYMENTS[: rng.randint(2, 4)]
    ]
    gpus = sum(spec.min_replicas * spec.gpus_per_replica for spec in specs) + rng.randint(4, 16)
    least = rng.choice([None, None, rng.randint(1, gpus)])
    return World(*specs, gpus=gpus, least=least, instances=2)


def happen(world: World, rng: Random) -> None:
    """Somebody asks for something, a leader is cut off, a pool breaks or goes away, or is back."""
    pool = rng.choice(list(world.pools.values()))
    leaders = [each for each in world.instances if each.planner.term]
    match rng.choices(["ask", "cut", "turn", "gone", "broken"], weights=[15, 2, 1, 1, 1])[0]:
        case "ask" if leaders:
            world.send(pool.spec.id, at=rng.choice(leaders), decode=rng.randint(0, 9))
        case "cut":
            rng.choice(world.instances).cut ^= True
        case "turn":
            pool.reports_to ^= 1
        case "gone":
            pool.gone ^= True
        case "broken":
            pool.broken ^= True


def mend(world: World) -> None:
    for instance in world.instances:
        instance.cut = False
    for pool in world.pools.values():
        pool.gone = pool.broken = False
        pool.reports_to = 0


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_ceiling_holds_and_constant_wishes_come_to_rest(seed: int) -> None:
    rng = Random(seed)
    world = contended(rng)
    for _ in range(_STEPS):
        happen(world, rng)
        world.run(rng.choice([0.5, 1.0, 3.0, 10.0]))
        assert world.most_gpus <= world.gpus
    mend(world)
    world.run(60)
    wishes = {pool_id: rng.randint(1, 6) for pool_id in world.pools}
    seen = []
    for _ in range(4):
        for pool_id, replicas in wishes.items():
            world.send(pool_id, decode=replicas)
        world.run(60)
        seen.append(world.ready)
    assert world.most_gpus <= world.gpus
    assert seen[-1] == seen[-2]
