from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PoolState(_message.Message):
    __slots__ = ("ready", "starting", "terminating")
    READY_FIELD_NUMBER: _ClassVar[int]
    STARTING_FIELD_NUMBER: _ClassVar[int]
    TERMINATING_FIELD_NUMBER: _ClassVar[int]
    ready: int
    starting: int
    terminating: int
    def __init__(self, ready: _Optional[int] = ..., starting: _Optional[int] = ..., terminating: _Optional[int] = ...) -> None: ...

class ClassLoad(_message.Message):
    __slots__ = ("class_name", "rate_rps", "rate_high_rps", "isl_tokens", "osl_tokens")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    RATE_RPS_FIELD_NUMBER: _ClassVar[int]
    RATE_HIGH_RPS_FIELD_NUMBER: _ClassVar[int]
    ISL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OSL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    rate_rps: float
    rate_high_rps: float
    isl_tokens: float
    osl_tokens: float
    def __init__(self, class_name: _Optional[str] = ..., rate_rps: _Optional[float] = ..., rate_high_rps: _Optional[float] = ..., isl_tokens: _Optional[float] = ..., osl_tokens: _Optional[float] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("pool_id", "sequence", "acted_term", "acted_epoch", "acted_replicas", "state", "capacity_rps", "capacity_rel_std", "load", "backlog_replica_s", "telemetry_age_s", "ttft_s", "itl_s", "start_up_s", "withdrawn", "role", "gpus_per_replica", "wish")
    class CapacityRpsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACTED_TERM_FIELD_NUMBER: _ClassVar[int]
    ACTED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACTED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_RPS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_REL_STD_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_REPLICA_S_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_AGE_S_FIELD_NUMBER: _ClassVar[int]
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    ITL_S_FIELD_NUMBER: _ClassVar[int]
    START_UP_S_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    GPUS_PER_REPLICA_FIELD_NUMBER: _ClassVar[int]
    WISH_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    sequence: int
    acted_term: int
    acted_epoch: int
    acted_replicas: int
    state: PoolState
    capacity_rps: _containers.ScalarMap[str, float]
    capacity_rel_std: float
    load: _containers.RepeatedCompositeFieldContainer[ClassLoad]
    backlog_replica_s: float
    telemetry_age_s: float
    ttft_s: float
    itl_s: float
    start_up_s: float
    withdrawn: bool
    role: str
    gpus_per_replica: int
    wish: int
    def __init__(self, pool_id: _Optional[str] = ..., sequence: _Optional[int] = ..., acted_term: _Optional[int] = ..., acted_epoch: _Optional[int] = ..., acted_replicas: _Optional[int] = ..., state: _Optional[_Union[PoolState, _Mapping]] = ..., capacity_rps: _Optional[_Mapping[str, float]] = ..., capacity_rel_std: _Optional[float] = ..., load: _Optional[_Iterable[_Union[ClassLoad, _Mapping]]] = ..., backlog_replica_s: _Optional[float] = ..., telemetry_age_s: _Optional[float] = ..., ttft_s: _Optional[float] = ..., itl_s: _Optional[float] = ..., start_up_s: _Optional[float] = ..., withdrawn: _Optional[bool] = ..., role: _Optional[str] = ..., gpus_per_replica: _Optional[int] = ..., wish: _Optional[int] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("pool_id", "term", "epoch", "replicas", "valid_s", "reason")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    VALID_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    term: int
    epoch: int
    replicas: int
    valid_s: float
    reason: str
    def __init__(self, pool_id: _Optional[str] = ..., term: _Optional[int] = ..., epoch: _Optional[int] = ..., replicas: _Optional[int] = ..., valid_s: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("grant", "newest_sequence", "pool_id", "targets")
    class TargetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ClassTargets
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ClassTargets, _Mapping]] = ...) -> None: ...
    GRANT_FIELD_NUMBER: _ClassVar[int]
    NEWEST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    grant: Grant
    newest_sequence: int
    pool_id: str
    targets: _containers.MessageMap[str, ClassTargets]
    def __init__(self, grant: _Optional[_Union[Grant, _Mapping]] = ..., newest_sequence: _Optional[int] = ..., pool_id: _Optional[str] = ..., targets: _Optional[_Mapping[str, ClassTargets]] = ...) -> None: ...

class ClassTargets(_message.Message):
    __slots__ = ("ttft_s", "itl_s", "weight", "priority")
    TTFT_S_FIELD_NUMBER: _ClassVar[int]
    ITL_S_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ttft_s: float
    itl_s: float
    weight: float
    priority: int
    def __init__(self, ttft_s: _Optional[float] = ..., itl_s: _Optional[float] = ..., weight: _Optional[float] = ..., priority: _Optional[int] = ...) -> None: ...

class WatchPlanRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RoutingPlan(_message.Message):
    __slots__ = ("term", "version", "classes", "targets")
    class StageShares(_message.Message):
        __slots__ = ("share_by_pool", "spill")
        class ShareByPoolEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: float
            def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
        SHARE_BY_POOL_FIELD_NUMBER: _ClassVar[int]
        SPILL_FIELD_NUMBER: _ClassVar[int]
        share_by_pool: _containers.ScalarMap[str, float]
        spill: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, share_by_pool: _Optional[_Mapping[str, float]] = ..., spill: _Optional[_Iterable[str]] = ...) -> None: ...
    class ClassPlan(_message.Message):
        __slots__ = ("prefill", "decode")
        PREFILL_FIELD_NUMBER: _ClassVar[int]
        DECODE_FIELD_NUMBER: _ClassVar[int]
        prefill: RoutingPlan.StageShares
        decode: RoutingPlan.StageShares
        def __init__(self, prefill: _Optional[_Union[RoutingPlan.StageShares, _Mapping]] = ..., decode: _Optional[_Union[RoutingPlan.StageShares, _Mapping]] = ...) -> None: ...
    class ClassesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: RoutingPlan.ClassPlan
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[RoutingPlan.ClassPlan, _Mapping]] = ...) -> None: ...
    class TargetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ClassTargets
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ClassTargets, _Mapping]] = ...) -> None: ...
    TERM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    term: int
    version: int
    classes: _containers.MessageMap[str, RoutingPlan.ClassPlan]
    targets: _containers.MessageMap[str, ClassTargets]
    def __init__(self, term: _Optional[int] = ..., version: _Optional[int] = ..., classes: _Optional[_Mapping[str, RoutingPlan.ClassPlan]] = ..., targets: _Optional[_Mapping[str, ClassTargets]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PoolStatus(_message.Message):
    __slots__ = ("pool_id", "granted_replicas", "charged_gpus", "state", "report_age_s", "reason", "wanted_replicas")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    GRANTED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_GPUS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REPORT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WANTED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    granted_replicas: int
    charged_gpus: int
    state: PoolState
    report_age_s: float
    reason: str
    wanted_replicas: int
    def __init__(self, pool_id: _Optional[str] = ..., granted_replicas: _Optional[int] = ..., charged_gpus: _Optional[int] = ..., state: _Optional[_Union[PoolState, _Mapping]] = ..., report_age_s: _Optional[float] = ..., reason: _Optional[str] = ..., wanted_replicas: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("at_s", "pool_id", "before_replicas", "after_replicas", "reason", "decision_id")
    AT_S_FIELD_NUMBER: _ClassVar[int]
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    AFTER_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    at_s: float
    pool_id: str
    before_replicas: int
    after_replicas: int
    reason: str
    decision_id: str
    def __init__(self, at_s: _Optional[float] = ..., pool_id: _Optional[str] = ..., before_replicas: _Optional[int] = ..., after_replicas: _Optional[int] = ..., reason: _Optional[str] = ..., decision_id: _Optional[str] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("term", "leading", "budget_gpus", "charged_gpus", "peak_charged_gpus", "budget_violations", "pools", "decisions", "plan", "holding", "proposals", "mode", "overrides", "limits", "infeasible_classes")
    TERM_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    BUDGET_GPUS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_GPUS_FIELD_NUMBER: _ClassVar[int]
    PEAK_CHARGED_GPUS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    INFEASIBLE_CLASSES_FIELD_NUMBER: _ClassVar[int]
    term: int
    leading: bool
    budget_gpus: int
    charged_gpus: int
    peak_charged_gpus: int
    budget_violations: int
    pools: _containers.RepeatedCompositeFieldContainer[PoolStatus]
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    plan: RoutingPlan
    holding: str
    proposals: _containers.RepeatedCompositeFieldContainer[Proposal]
    mode: str
    overrides: Overrides
    limits: _containers.RepeatedCompositeFieldContainer[LimitStatus]
    infeasible_classes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, term: _Optional[int] = ..., leading: _Optional[bool] = ..., budget_gpus: _Optional[int] = ..., charged_gpus: _Optional[int] = ..., peak_charged_gpus: _Optional[int] = ..., budget_violations: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[PoolStatus, _Mapping]]] = ..., decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., plan: _Optional[_Union[RoutingPlan, _Mapping]] = ..., holding: _Optional[str] = ..., proposals: _Optional[_Iterable[_Union[Proposal, _Mapping]]] = ..., mode: _Optional[str] = ..., overrides: _Optional[_Union[Overrides, _Mapping]] = ..., limits: _Optional[_Iterable[_Union[LimitStatus, _Mapping]]] = ..., infeasible_classes: _Optional[_Iterable[str]] = ...) -> None: ...

class LimitStatus(_message.Message):
    __slots__ = ("name", "unit", "most", "charged")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    CHARGED_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    most: int
    charged: int
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., most: _Optional[int] = ..., charged: _Optional[int] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("id", "at_unix_s", "changes")
    ID_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    id: str
    at_unix_s: float
    changes: _containers.RepeatedCompositeFieldContainer[Decision]
    def __init__(self, id: _Optional[str] = ..., at_unix_s: _Optional[float] = ..., changes: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ...) -> None: ...

class HealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthResponse(_message.Message):
    __slots__ = ("leading", "term", "confirmed_age_s", "store_connected", "growing", "traffic_age_s", "report_age_s", "silent_pools", "problem")
    class ReportAgeSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    LEADING_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_AGE_S_FIELD_NUMBER: _ClassVar[int]
    STORE_CONNECTED_FIELD_NUMBER: _ClassVar[int]
    GROWING_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_AGE_S_FIELD_NUMBER: _ClassVar[int]
    REPORT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    SILENT_POOLS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    leading: bool
    term: int
    confirmed_age_s: float
    store_connected: bool
    growing: bool
    traffic_age_s: float
    report_age_s: _containers.ScalarMap[str, float]
    silent_pools: _containers.RepeatedScalarFieldContainer[str]
    problem: str
    def __init__(self, leading: _Optional[bool] = ..., term: _Optional[int] = ..., confirmed_age_s: _Optional[float] = ..., store_connected: _Optional[bool] = ..., growing: _Optional[bool] = ..., traffic_age_s: _Optional[float] = ..., report_age_s: _Optional[_Mapping[str, float]] = ..., silent_pools: _Optional[_Iterable[str]] = ..., problem: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("pool_id", "class_name", "decision_id")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    class_name: str
    decision_id: str
    def __init__(self, pool_id: _Optional[str] = ..., class_name: _Optional[str] = ..., decision_id: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("lines", "decision")
    LINES_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    decision: DecisionRecord
    def __init__(self, lines: _Optional[_Iterable[str]] = ..., decision: _Optional[_Union[DecisionRecord, _Mapping]] = ...) -> None: ...

class DecisionRecord(_message.Message):
    __slots__ = ("id", "term", "at_unix_s", "at_s", "inputs_digest", "pools", "class_reasons", "alternatives", "value", "full_value", "price_by_limit", "budget_gpus", "charged_gpus", "outcome", "plan_version", "holding")
    class Pool(_message.Message):
        __slots__ = ("pool_id", "before_replicas", "after_replicas", "reason")
        POOL_ID_FIELD_NUMBER: _ClassVar[int]
        BEFORE_REPLICAS_FIELD_NUMBER: _ClassVar[int]
        AFTER_REPLICAS_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        pool_id: str
        before_replicas: int
        after_replicas: int
        reason: str
        def __init__(self, pool_id: _Optional[str] = ..., before_replicas: _Optional[int] = ..., after_replicas: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
    class Alternative(_message.Message):
        __slots__ = ("what", "value", "why_not")
        WHAT_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        WHY_NOT_FIELD_NUMBER: _ClassVar[int]
        what: str
        value: float
        why_not: str
        def __init__(self, what: _Optional[str] = ..., value: _Optional[float] = ..., why_not: _Optional[str] = ...) -> None: ...
    class ClassReasonsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class PriceByLimitEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    AT_S_FIELD_NUMBER: _ClassVar[int]
    INPUTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    CLASS_REASONS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FULL_VALUE_FIELD_NUMBER: _ClassVar[int]
    PRICE_BY_LIMIT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_GPUS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_GPUS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PLAN_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    id: str
    term: int
    at_unix_s: float
    at_s: float
    inputs_digest: str
    pools: _containers.RepeatedCompositeFieldContainer[DecisionRecord.Pool]
    class_reasons: _containers.ScalarMap[str, str]
    alternatives: _containers.RepeatedCompositeFieldContainer[DecisionRecord.Alternative]
    value: float
    full_value: float
    price_by_limit: _containers.ScalarMap[str, float]
    budget_gpus: int
    charged_gpus: int
    outcome: str
    plan_version: int
    holding: str
    def __init__(self, id: _Optional[str] = ..., term: _Optional[int] = ..., at_unix_s: _Optional[float] = ..., at_s: _Optional[float] = ..., inputs_digest: _Optional[str] = ..., pools: _Optional[_Iterable[_Union[DecisionRecord.Pool, _Mapping]]] = ..., class_reasons: _Optional[_Mapping[str, str]] = ..., alternatives: _Optional[_Iterable[_Union[DecisionRecord.Alternative, _Mapping]]] = ..., value: _Optional[float] = ..., full_value: _Optional[float] = ..., price_by_limit: _Optional[_Mapping[str, float]] = ..., budget_gpus: _Optional[int] = ..., charged_gpus: _Optional[int] = ..., outcome: _Optional[str] = ..., plan_version: _Optional[int] = ..., holding: _Optional[str] = ...) -> None: ...

class WhatIfRequest(_message.Message):
    __slots__ = ("more_gpus_by_class", "load_factor")
    class MoreGpusByClassEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MORE_GPUS_BY_CLASS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FACTOR_FIELD_NUMBER: _ClassVar[int]
    more_gpus_by_class: _containers.ScalarMap[str, int]
    load_factor: float
    def __init__(self, more_gpus_by_class: _Optional[_Mapping[str, int]] = ..., load_factor: _Optional[float] = ...) -> None: ...

class WhatIfResponse(_message.Message):
    __slots__ = ("value", "value_now", "full_value", "price_by_limit", "served_now_rps", "served_rps", "replicas_by_pool", "lines")
    class PriceByLimitEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ServedNowRpsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ServedRpsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ReplicasByPoolEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VALUE_FIELD_NUMBER: _ClassVar[int]
    VALUE_NOW_FIELD_NUMBER: _ClassVar[int]
    FULL_VALUE_FIELD_NUMBER: _ClassVar[int]
    PRICE_BY_LIMIT_FIELD_NUMBER: _ClassVar[int]
    SERVED_NOW_RPS_FIELD_NUMBER: _ClassVar[int]
    SERVED_RPS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_BY_POOL_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    value: float
    value_now: float
    full_value: float
    price_by_limit: _containers.ScalarMap[str, float]
    served_now_rps: _containers.ScalarMap[str, float]
    served_rps: _containers.ScalarMap[str, float]
    replicas_by_pool: _containers.ScalarMap[str, int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, value: _Optional[float] = ..., value_now: _Optional[float] = ..., full_value: _Optional[float] = ..., price_by_limit: _Optional[_Mapping[str, float]] = ..., served_now_rps: _Optional[_Mapping[str, float]] = ..., served_rps: _Optional[_Mapping[str, float]] = ..., replicas_by_pool: _Optional[_Mapping[str, int]] = ..., lines: _Optional[_Iterable[str]] = ...) -> None: ...

class SetBudgetRequest(_message.Message):
    __slots__ = ("gpus", "gpus_by_class", "dry_run")
    class GpusByClassEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    GPUS_FIELD_NUMBER: _ClassVar[int]
    GPUS_BY_CLASS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    gpus: int
    gpus_by_class: _containers.ScalarMap[str, int]
    dry_run: bool
    def __init__(self, gpus: _Optional[int] = ..., gpus_by_class: _Optional[_Mapping[str, int]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class SetSloRequest(_message.Message):
    __slots__ = ("class_name", "targets", "dry_run")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    targets: ClassTargets
    dry_run: bool
    def __init__(self, class_name: _Optional[str] = ..., targets: _Optional[_Union[ClassTargets, _Mapping]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class FreezeRequest(_message.Message):
    __slots__ = ("pool_id", "thaw", "why", "dry_run")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    THAW_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    thaw: bool
    why: str
    dry_run: bool
    def __init__(self, pool_id: _Optional[str] = ..., thaw: _Optional[bool] = ..., why: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("pool_id", "undo", "why", "dry_run")
    POOL_ID_FIELD_NUMBER: _ClassVar[int]
    UNDO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    pool_id: str
    undo: bool
    why: str
    dry_run: bool
    def __init__(self, pool_id: _Optional[str] = ..., undo: _Optional[bool] = ..., why: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class SetResponse(_message.Message):
    __slots__ = ("applied", "lines", "value_before", "value_after", "served_before_rps", "served_after_rps")
    class ServedBeforeRpsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ServedAfterRpsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    VALUE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    VALUE_AFTER_FIELD_NUMBER: _ClassVar[int]
    SERVED_BEFORE_RPS_FIELD_NUMBER: _ClassVar[int]
    SERVED_AFTER_RPS_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    lines: _containers.RepeatedScalarFieldContainer[str]
    value_before: float
    value_after: float
    served_before_rps: _containers.ScalarMap[str, float]
    served_after_rps: _containers.ScalarMap[str, float]
    def __init__(self, applied: _Optional[bool] = ..., lines: _Optional[_Iterable[str]] = ..., value_before: _Optional[float] = ..., value_after: _Optional[float] = ..., served_before_rps: _Optional[_Mapping[str, float]] = ..., served_after_rps: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("proposal_id", "reject")
    PROPOSAL_ID_FIELD_NUMBER: _ClassVar[int]
    REJECT_FIELD_NUMBER: _ClassVar[int]
    proposal_id: str
    reject: bool
    def __init__(self, proposal_id: _Optional[str] = ..., reject: _Optional[bool] = ...) -> None: ...

class ApproveResponse(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lines: _Optional[_Iterable[str]] = ...) -> None: ...

class Overrides(_message.Message):
    __slots__ = ("budget_gpus", "gpus_by_class", "targets", "frozen", "drained")
    class GpusByClassEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class TargetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ClassTargets
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ClassTargets, _Mapping]] = ...) -> None: ...
    class FrozenEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class DrainedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    BUDGET_GPUS_FIELD_NUMBER: _ClassVar[int]
    GPUS_BY_CLASS_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    DRAINED_FIELD_NUMBER: _ClassVar[int]
    budget_gpus: int
    gpus_by_class: _containers.ScalarMap[str, int]
    targets: _containers.MessageMap[str, ClassTargets]
    frozen: _containers.ScalarMap[str, str]
    drained: _containers.ScalarMap[str, str]
    def __init__(self, budget_gpus: _Optional[int] = ..., gpus_by_class: _Optional[_Mapping[str, int]] = ..., targets: _Optional[_Mapping[str, ClassTargets]] = ..., frozen: _Optional[_Mapping[str, str]] = ..., drained: _Optional[_Mapping[str, str]] = ...) -> None: ...

class LedgerRecord(_message.Message):
    __slots__ = ("term", "owner", "serial", "pools", "overrides")
    class OpenGrant(_message.Message):
        __slots__ = ("term", "epoch", "replicas")
        TERM_FIELD_NUMBER: _ClassVar[int]
        EPOCH_FIELD_NUMBER: _ClassVar[int]
        REPLICAS_FIELD_NUMBER: _ClassVar[int]
        term: int
        epoch: int
        replicas: int
        def __init__(self, term: _Optional[int] = ..., epoch: _Optional[int] = ..., replicas: _Optional[int] = ...) -> None: ...
    class Pool(_message.Message):
        __slots__ = ("pool_id", "gpus_per_replica", "gpu_class", "node_group", "charged_replicas", "unknown_replicas", "sequence", "open", "power_w_per_gpu")
        POOL_ID_FIELD_NUMBER: _ClassVar[int]
        GPUS_PER_REPLICA_FIELD_NUMBER: _ClassVar[int]
        GPU_CLASS_FIELD_NUMBER: _ClassVar[int]
        NODE_GROUP_FIELD_NUMBER: _ClassVar[int]
        CHARGED_REPLICAS_FIELD_NUMBER: _ClassVar[int]
        UNKNOWN_REPLICAS_FIELD_NUMBER: _ClassVar[int]
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        OPEN_FIELD_NUMBER: _ClassVar[int]
        POWER_W_PER_GPU_FIELD_NUMBER: _ClassVar[int]
        pool_id: str
        gpus_per_replica: int
        gpu_class: str
        node_group: str
        charged_replicas: int
        unknown_replicas: int
        sequence: int
        open: _containers.RepeatedCompositeFieldContainer[LedgerRecord.OpenGrant]
        power_w_per_gpu: int
        def __init__(self, pool_id: _Optional[str] = ..., gpus_per_replica: _Optional[int] = ..., gpu_class: _Optional[str] = ..., node_group: _Optional[str] = ..., charged_replicas: _Optional[int] = ..., unknown_replicas: _Optional[int] = ..., sequence: _Optional[int] = ..., open: _Optional[_Iterable[_Union[LedgerRecord.OpenGrant, _Mapping]]] = ..., power_w_per_gpu: _Optional[int] = ...) -> None: ...
    TERM_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    POOLS_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    term: int
    owner: str
    serial: int
    pools: _containers.RepeatedCompositeFieldContainer[LedgerRecord.Pool]
    overrides: Overrides
    def __init__(self, term: _Optional[int] = ..., owner: _Optional[str] = ..., serial: _Optional[int] = ..., pools: _Optional[_Iterable[_Union[LedgerRecord.Pool, _Mapping]]] = ..., overrides: _Optional[_Union[Overrides, _Mapping]] = ...) -> None: ...
