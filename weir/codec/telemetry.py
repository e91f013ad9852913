"""What routers and engines publish."""

from google.protobuf.message import Message

from weir.api.v1 import telemetry_pb2
from weir.codec.fields import finite, text
from weir.domain.histogram import LogHistogram
from weir.domain.ids import ClassName, PoolId, RouterId, WorkerId
from weir.domain.telemetry import ClassTraffic, ForwardPassSample, PoolTraffic, TrafficSample

__all__ = ["decode_forward_pass", "decode_traffic", "encode_forward_pass", "encode_traffic"]


def _encode_histogram(histogram: LogHistogram) -> telemetry_pb2.LogHistogram:
    return telemetry_pb2.LogHistogram(counts=histogram.counts)


def _decode_histogram(message: telemetry_pb2.LogHistogram) -> LogHistogram:
    for bucket, count in message.counts.items():
        finite("histogram bucket", bucket)
        finite("histogram count", count)
    return LogHistogram.of(message.counts)


_CLASS_COUNTS = (
    "arrivals",
    "isl_tokens",
    "completed",
    "osl_tokens",
    "failed",
    "shed",
    "cancelled",
    "queued",
)
_CLASS_COUNTS_IF_KNOWN = (
    "hopeless_arrivals",
    "hopeless_isl_tokens",
    "isl_tokens_sq",
    "osl_tokens_sq",
    "decoding_ms",
    "completed_decoding_ms",
)
_POOL_COUNTS = (
    "arrivals",
    "isl_tokens",
    "completed",
    "osl_tokens",
    "failed",
    "direct",
    "in_flight",
    "queued_tokens",
)
_POOL_COUNTS_IF_KNOWN = ("hopeless_queued_tokens",)
_PASS_COUNTS = ("sequence", "running", "waiting")
_PASS_COUNTS_IF_KNOWN = (
    "iterations",
    "prefill_tokens",
    "decode_tokens",
    "waiting_tokens",
    "kv_used_tokens",
    "kv_total_tokens",
    "preemptions",
    "completed",
    "cached_tokens",
    "prefill_iterations",
)


def _counts(message: object, names: tuple[str, ...]) -> dict[str, int]:
    return {name: int(finite(name, getattr(message, name))) for name in names}


def _if_known(sample: object, names: tuple[str, ...]) -> dict[str, int | None]:
    return {name: getattr(sample, name) for name in names}


def _told(message: Message, names: tuple[str, ...]) -> dict[str, int]:
    return _counts(message, tuple(name for name in names if message.HasField(name)))


def encode_traffic(sample: TrafficSample) -> telemetry_pb2.TrafficSample:
    return telemetry_pb2.TrafficSample(
        router_id=sample.router_id,
        sequence=sample.sequence,
        window_s=sample.window_s,
        classes=[
            telemetry_pb2.ClassTraffic(
                class_name=traffic.name,
                ttft_s=_encode_histogram(traffic.ttft_s),
                itl_s=_encode_histogram(traffic.itl_s),
                **_counts(traffic, _CLASS_COUNTS),
                **_if_known(traffic, _CLASS_COUNTS_IF_KNOWN),
            )
            for traffic in sample.classes
        ],
        pools=[
            telemetry_pb2.PoolTraffic(
                pool_id=traffic.pool_id,
                first_token_s=_encode_histogram(traffic.first_token_s),
                itl_s=_encode_histogram(traffic.itl_s),
                **_counts(traffic, _POOL_COUNTS),
                **_if_known(traffic, _POOL_COUNTS_IF_KNOWN),
            )
            for traffic in sample.pools
        ],
    )


def decode_traffic(message: telemetry_pb2.TrafficSample) -> TrafficSample:
    return TrafficSample(
        router_id=RouterId(text("router_id", message.router_id)),
        sequence=message.sequence,
        window_s=finite("window_s", message.window_s),
        classes=tuple(
            ClassTraffic(
                name=ClassName(text("class_name", traffic.class_name)),
                ttft_s=_decode_histogram(traffic.ttft_s),
                itl_s=_decode_histogram(traffic.itl_s),
                **_counts(traffic, _CLASS_COUNTS),
                **_told(traffic, _CLASS_COUNTS_IF_KNOWN),
            )
            for traffic in message.classes
        ),
        pools=tuple(
            PoolTraffic(
                pool_id=PoolId(text("pool_id", traffic.pool_id)),
                first_token_s=_decode_histogram(traffic.first_token_s),
                itl_s=_decode_histogram(traffic.itl_s),
                **_counts(traffic, _POOL_COUNTS),
                **_told(traffic, _POOL_COUNTS_IF_KNOWN),
            )
            for traffic in message.pools
        ),
    )


def encode_forward_pass(sample: ForwardPassSample) -> telemetry_pb2.ForwardPassSample:
    return telemetry_pb2.ForwardPassSample(
        pool_id=sample.pool_id,
        worker_id=sample.worker_id,
        window_s=sample.window_s,
        busy_s=sample.busy_s,
        accept_length=sample.accept_length,
        **_counts(sample, _PASS_COUNTS),
        **_if_known(sample, _PASS_COUNTS_IF_KNOWN),
    )


def decode_forward_pass(message: telemetry_pb2.ForwardPassSample) -> ForwardPassSample:
    return ForwardPassSample(
        pool_id=PoolId(text("pool_id", message.pool_id)),
        worker_id=WorkerId(text("worker_id", message.worker_id)),
        window_s=finite("window_s", message.window_s),
        busy_s=finite("busy_s", message.busy_s) if message.HasField("busy_s") else None,
        accept_length=finite("accept_length", message.accept_length, low=1.0)
        if message.HasField("accept_length")
        else None,
        **_counts(message, _PASS_COUNTS),
        **_told(message, _PASS_COUNTS_IF_KNOWN),
    )
