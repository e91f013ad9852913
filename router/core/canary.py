"""Which requests for a model try another one: a share of them, spread evenly and without chance."""

from collections.abc import Callable, Iterable

from weir.domain.fleet import Model
from weir.domain.ids import ModelName

__all__ = ["Canaries"]


class Canaries:
    """`names` are those of the models, aliases included, that have a canary."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._splits: dict[str, _Split] = {}
        for model in models:
            if model.canary:
                split = _Split(dict(model.canary))
                self._splits |= dict.fromkeys((model.name, *model.aliases), split)
        self.names = frozenset(self._splits)

    def turn(self, name: str, ready: Callable[[ModelName], bool]) -> str:
        """The model that the next request for `name`, one of `names`, is for."""
        return self._splits[name].turn(ready) or name


class _Split:
    """A canary is due when its shares of the requests since it was last sum up to one."""

    def __init__(self, shares: dict[ModelName, float]) -> None:
        self._shares = shares
        self._credits = dict.fromkeys(shares, 0.0)

    def turn(self, ready: Callable[[ModelName], bool]) -> ModelName | None:
        credits = self._credits
        for name, share in self._shares.items():
            # What it missed while it was not ready is not made up for.
            credits[name] = min(credits[name], 1.0) + share
        due = [name for name, credit in credits.items() if credit >= 1.0 and ready(name)]
        if not due:
            return None
        chosen = max(due, key=credits.__getitem__)
        credits[chosen] -= 1.0
        return chosen
