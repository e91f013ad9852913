"""What a client asks for, as the engine needs it: token counts, hashes, the leg of a hand-over."""

import re
from dataclasses import dataclass

from weir.domain.errors import RequestError
from weir.mocker.fields import Fields
from weir.mocker.prompts import chat_prompt, completion_prompt
from weir.mocker.tokens import block_hashes, natural_output_tokens, token_count

__all__ = [
    "FetchKv",
    "Generation",
    "KeepKv",
    "Model",
    "parse_chat",
    "parse_completion",
]

_NAME = re.compile(r"[\w.:-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepKv:
    """Prefill leg: keep the prompt's KV after the first token, for a decode engine to fetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchKv:
    """Decode leg: the prompt's KV waits at `host:port` under `request_id`."""

    engine_id: str
    request_id: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One checked request. `output_tokens` come for sure, and end as `finish_reason` says."""

    chat: bool
    stream: bool
    include_usage: bool
    prompt_tokens: int
    output_tokens: int
    finish_reason: str
    block_hashes: tuple[int, ...]
    material: bytes
    """The prompt's tokens, four bytes each; nothing unless they are to be published."""
    leg: KeepKv | FetchKv | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What requests are checked against. `names[0]` is the model, the rest are aliases."""

    names: tuple[str, ...]
    context_limit_tokens: int
    block_tokens: int
    publishes: bool = False
    """Its prompts' tokens are kept, to be published."""


def parse_chat(body: bytes, model: Model) -> Generation:
    """A body of `/v1/chat/completions`. Raises `RequestError`."""
    fields = Fields.parse(body)
    _check_model(fields, model)
    return _generation(fields, model, chat_prompt(fields), chat=True)


def parse_completion(body: bytes, model: Model) -> Generation:
    """A body of `/v1/completions`. Raises `RequestError`."""
    fields = Fields.parse(body)
    _check_model(fields, model)
    for name in ("echo", "suffix"):
        if fields.raw(name):
            raise RequestError(f"{name} is not supported by this engine", param=name)
    return _generation(fields, model, completion_prompt(fields), chat=False)


def _check_model(fields: Fields, model: Model) -> None:
    name = fields.text("model")
    if name is not None and name not in model.names:
        raise RequestError(
            f"The model `{name}` does not exist.",
            status=404,
            code="model_not_found",
            param="model",
        )


def _generation(fields: Fields, model: Model, material: bytes, *, chat: bool) -> Generation:
    _check_sampling(fields)
    prompt_tokens = token_count(material)
    cap = _output_cap(fields, prompt_tokens, model.context_limit_tokens)
    wanted = _wanted_tokens(fields, material, cap)
    stream, include_usage = _streaming(fields)
    leg = _leg(fields)
    if isinstance(leg, KeepKv) and stream:
        raise RequestError(
            "a prefill leg (kv_transfer_params.do_remote_decode) needs stream: false",
            param="stream",
        )
    return Generation(
        chat=chat,
        stream=stream,
        include_usage=include_usage,
        prompt_tokens=prompt_tokens,
        output_tokens=min(wanted, cap),
        finish_reason="stop" if wanted < cap else "length",
        block_hashes=block_hashes(material, model.block_tokens),
        material=material if model.publishes else b"",
        leg=leg,
    )


def _check_sampling(fields: Fields) -> None:
    """Parameters that change nothing here are checked all the same, as an engine would."""
    if (fields.integer("n", 1) or 1) > 1 or (fields.integer("best_of", 1) or 1) > 1:
        raise RequestError("only n = 1 is supported by this engine", param="n")
    fields.number("temperature", 0.0)
    fields.number("top_p", 0.0, 1.0)
    fields.number("min_p", 0.0, 1.0)
    fields.number("frequency_penalty", -2.0, 2.0)
    fields.number("presence_penalty", -2.0, 2.0)
    fields.number("repetition_penalty", 0.0)
    fields.integer("top_k", -1)
    fields.integer("seed")
    stop = fields.raw("stop")
    stops = stop if isinstance(stop, list) else [] if stop is None else [stop]
    if not all(isinstance(item, str) for item in stops):
        raise fields.wrong("stop", "a string or an array of strings")


def _output_cap(fields: Fields, prompt_tokens: int, limit: int) -> int:
    """The longest output allowed. Raises if the context cannot hold what is asked for."""
    if prompt_tokens >= limit:
        raise RequestError(
            f"This model's maximum context length is {limit} tokens, but the prompt has "
            f"{prompt_tokens}. Shorten the prompt.",
            code="context_length_exceeded",
            param="messages" if fields.has("messages") else "prompt",
        )
    name = "max_completion_tokens" if fields.has("max_completion_tokens") else "max_tokens"
    asked = fields.integer(name, 1)
    if asked is not None and prompt_tokens + asked > limit:
        raise RequestError(
            f"This model's maximum context length is {limit} tokens, but {prompt_tokens + asked} "
            f"were requested ({prompt_tokens} in the prompt, {asked} for the output). Shorten "
            f"the prompt or lower {name}.",
            code="context_length_exceeded",
            param=name,
        )
    return asked if asked is not None else limit - prompt_tokens


def _wanted_tokens(fields: Fields, material: bytes, cap: int) -> int:
    """How many tokens the model would put out if nothing stopped it."""
    extra = fields.object("vllm_xargs")
    told = extra.integer("mock_output_tokens", 1) if extra is not None else None
    if told is not None:
        return told
    if fields.flag("ignore_eos"):
        return cap
    return max(fields.integer("min_tokens", 0) or 0, natural_output_tokens(material))


def _streaming(fields: Fields) -> tuple[bool, bool]:
    """Whether to stream, and with usage at the end."""
    stream, options = fields.flag("stream"), fields.object("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise RequestError("stream_options needs stream: true", param="stream_options")
    return stream, options.flag("include_usage")


def _leg(fields: Fields) -> KeepKv | FetchKv | None:
    params = fields.object("kv_transfer_params")
    if params is None:
        return None
    if params.flag("do_remote_decode"):
        return KeepKv()
    if not params.flag("do_remote_prefill"):
        return None
    return FetchKv(
        engine_id=_required(params, "remote_engine_id"),
        request_id=_required(params, "remote_request_id"),
        host=_required(params, "remote_host"),
        port=_port(params),
    )


def _required(params: Fields, name: str) -> str:
    value = params.text(name)
    if not value or not _NAME.fullmatch(value):
        raise params.wrong(name, "the string that the prefill leg gave")
    return value


def _port(params: Fields) -> int:
    port = params.integer("remote_port", 1)
    if port is None or port > 65535:
        raise params.wrong("remote_port", "the port that the prefill leg gave")
    return port
