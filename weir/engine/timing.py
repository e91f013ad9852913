"""`EngineProfile.iteration_s` for one engine, which asks for much the same again and again."""

from weir.domain.profile import DecodeCourse, EngineProfile

__all__ = ["IterationTiming"]


class IterationTiming:
    """Remembers decode times by number of sequences where they do not depend on the KV in use."""

    __slots__ = ("_courses", "_follows_kv", "_profile")

    def __init__(self, profile: EngineProfile) -> None:
        self._profile = profile
        self._follows_kv = profile.timing.decode_follows_kv
        self._courses: dict[int, DecodeCourse] = {}

    def course(self, sequences: int, context_tokens: int) -> DecodeCourse:
        """Of iterations that only decode, the first over `context_tokens`."""
        if self._follows_kv:
            return self._profile.decode_course(sequences=sequences, kv_used_tokens=context_tokens)
        course = self._courses.get(sequences)
        if course is None:
            course = self._profile.decode_course(sequences=sequences, kv_used_tokens=0)
            self._courses[sequences] = course
        return course

    def iteration_s(self, prefill_tokens: int, sequences: int, context_tokens: int) -> float:
        """Seconds of an iteration by itself."""
        profile = self._profile
        if self._follows_kv:
            return profile.iteration_s(
                prefill_tokens=prefill_tokens, sequences=sequences, kv_used_tokens=context_tokens
            )
        decode_s = self.course(sequences, 0).first_s if sequences else 0.0
        if not prefill_tokens:
            return decode_s
        return profile.timing.prefill_time_s(prefill_tokens) / profile.speed + decode_s
