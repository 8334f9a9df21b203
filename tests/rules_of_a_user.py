"""Rules that live in a module of their own, as a user's do."""

FACTOR = 1.0
weights = {"a": 1.0}


def base(text: str) -> float:
    return FACTOR * len(text)


class Counter:
    threshold = 3

    def of(self, text: str) -> float:
        return float(len(text) > self.threshold)
