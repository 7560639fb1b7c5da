from negmine.v1 import policy_pb2 as _policy_pb2
from negmine.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fill(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILL_UNSPECIFIED: _ClassVar[Fill]
    FILL_NOTHING: _ClassVar[Fill]
    FILL_RANDOM: _ClassVar[Fill]
    FILL_RELAXED: _ClassVar[Fill]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_STEP: _ClassVar[Priority]
    PRIORITY_BULK: _ClassVar[Priority]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_FULL: _ClassVar[Outcome]
    OUTCOME_EXHAUSTED: _ClassVar[Outcome]
    OUTCOME_BUDGET: _ClassVar[Outcome]
    OUTCOME_NO_POSITIVE_SCORE: _ClassVar[Outcome]

class DropReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DROP_REASON_UNSPECIFIED: _ClassVar[DropReason]
    DROP_REASON_OWN_ID: _ClassVar[DropReason]
    DROP_REASON_POSITIVE: _ClassVar[DropReason]
    DROP_REASON_MARGIN: _ClassVar[DropReason]
    DROP_REASON_MAX_SCORE: _ClassVar[DropReason]
    DROP_REASON_MIN_SCORE: _ClassVar[DropReason]
    DROP_REASON_WINDOW: _ClassVar[DropReason]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_PICKED: _ClassVar[Verdict]
    VERDICT_OWN_ID: _ClassVar[Verdict]
    VERDICT_POSITIVE: _ClassVar[Verdict]
    VERDICT_GROUP: _ClassVar[Verdict]
    VERDICT_TAGS: _ClassVar[Verdict]
    VERDICT_AGE: _ClassVar[Verdict]
    VERDICT_MARGIN: _ClassVar[Verdict]
    VERDICT_MAX_SCORE: _ClassVar[Verdict]
    VERDICT_MIN_SCORE: _ClassVar[Verdict]
    VERDICT_NOT_PICKED: _ClassVar[Verdict]
FILL_UNSPECIFIED: Fill
FILL_NOTHING: Fill
FILL_RANDOM: Fill
FILL_RELAXED: Fill
PRIORITY_UNSPECIFIED: Priority
PRIORITY_STEP: Priority
PRIORITY_BULK: Priority
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_FULL: Outcome
OUTCOME_EXHAUSTED: Outcome
OUTCOME_BUDGET: Outcome
OUTCOME_NO_POSITIVE_SCORE: Outcome
DROP_REASON_UNSPECIFIED: DropReason
DROP_REASON_OWN_ID: DropReason
DROP_REASON_POSITIVE: DropReason
DROP_REASON_MARGIN: DropReason
DROP_REASON_MAX_SCORE: DropReason
DROP_REASON_MIN_SCORE: DropReason
DROP_REASON_WINDOW: DropReason
VERDICT_UNSPECIFIED: Verdict
VERDICT_PICKED: Verdict
VERDICT_OWN_ID: Verdict
VERDICT_POSITIVE: Verdict
VERDICT_GROUP: Verdict
VERDICT_TAGS: Verdict
VERDICT_AGE: Verdict
VERDICT_MARGIN: Verdict
VERDICT_MAX_SCORE: Verdict
VERDICT_MIN_SCORE: Verdict
VERDICT_NOT_PICKED: Verdict

class Protection(_message.Message):
    __slots__ = ("absolute_margin", "relative_margin", "percent_of_positive", "max_score", "min_score")
    ABSOLUTE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    PERCENT_OF_POSITIVE_FIELD_NUMBER: _ClassVar[int]
    MAX_SCORE_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    absolute_margin: float
    relative_margin: float
    percent_of_positive: float
    max_score: float
    min_score: float
    def __init__(self, absolute_margin: _Optional[float] = ..., relative_margin: _Optional[float] = ..., percent_of_positive: _Optional[float] = ..., max_score: _Optional[float] = ..., min_score: _Optional[float] = ...) -> None: ...

class MineRequest(_message.Message):
    __slots__ = ("collection", "embeddings", "codes", "k", "own_ids", "positives", "groups", "exclude_same_group", "positive_scores", "require_tags", "forbid_tags", "min_step", "max_staleness_steps", "protection", "policy", "scoring", "exact", "recall_target", "rescore", "pool", "max_scanned", "fill", "seed", "min_watermark", "priority", "return_versions", "return_embeddings", "return_weights")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    OWN_IDS_FIELD_NUMBER: _ClassVar[int]
    POSITIVES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_SAME_GROUP_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_SCORES_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_TAGS_FIELD_NUMBER: _ClassVar[int]
    FORBID_TAGS_FIELD_NUMBER: _ClassVar[int]
    MIN_STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_STEPS_FIELD_NUMBER: _ClassVar[int]
    PROTECTION_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SCORING_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    RECALL_TARGET_FIELD_NUMBER: _ClassVar[int]
    RESCORE_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    MAX_SCANNED_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MIN_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    RETURN_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    RETURN_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    RETURN_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    embeddings: _types_pb2.Tensor
    codes: _types_pb2.Codes
    k: int
    own_ids: _types_pb2.Tensor
    positives: _types_pb2.RaggedIds
    groups: _types_pb2.Tensor
    exclude_same_group: bool
    positive_scores: _types_pb2.Tensor
    require_tags: _types_pb2.Tensor
    forbid_tags: _types_pb2.Tensor
    min_step: int
    max_staleness_steps: int
    protection: Protection
    policy: _policy_pb2.Policy
    scoring: _types_pb2.Scoring
    exact: bool
    recall_target: float
    rescore: bool
    pool: int
    max_scanned: int
    fill: Fill
    seed: int
    min_watermark: _types_pb2.Watermark
    priority: Priority
    return_versions: bool
    return_embeddings: bool
    return_weights: bool
    def __init__(self, collection: _Optional[str] = ..., embeddings: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., codes: _Optional[_Union[_types_pb2.Codes, _Mapping]] = ..., k: _Optional[int] = ..., own_ids: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., positives: _Optional[_Union[_types_pb2.RaggedIds, _Mapping]] = ..., groups: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., exclude_same_group: bool = ..., positive_scores: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., require_tags: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., forbid_tags: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., min_step: _Optional[int] = ..., max_staleness_steps: _Optional[int] = ..., protection: _Optional[_Union[Protection, _Mapping]] = ..., policy: _Optional[_Union[_policy_pb2.Policy, _Mapping]] = ..., scoring: _Optional[_Union[_types_pb2.Scoring, str]] = ..., exact: bool = ..., recall_target: _Optional[float] = ..., rescore: bool = ..., pool: _Optional[int] = ..., max_scanned: _Optional[int] = ..., fill: _Optional[_Union[Fill, str]] = ..., seed: _Optional[int] = ..., min_watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ..., priority: _Optional[_Union[Priority, str]] = ..., return_versions: bool = ..., return_embeddings: bool = ..., return_weights: bool = ...) -> None: ...

class DropCount(_message.Message):
    __slots__ = ("reason", "count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: DropReason
    count: int
    def __init__(self, reason: _Optional[_Union[DropReason, str]] = ..., count: _Optional[int] = ...) -> None: ...

class MissingPositive(_message.Message):
    __slots__ = ("anchor", "id")
    ANCHOR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    anchor: int
    id: int
    def __init__(self, anchor: _Optional[int] = ..., id: _Optional[int] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("stage", "duration_ms")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    duration_ms: float
    def __init__(self, stage: _Optional[str] = ..., duration_ms: _Optional[float] = ...) -> None: ...

class MineResponse(_message.Message):
    __slots__ = ("ids", "scores", "counts", "exact_scores", "standard_errors", "positive_scores", "outcomes", "starved_anchors", "drops", "missing_positives", "timings", "watermark", "newest", "steps", "generations", "embeddings", "weights", "rows_scanned", "collection", "fills", "ungrouped_negatives")
    IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    EXACT_SCORES_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_SCORES_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    STARVED_ANCHORS_FIELD_NUMBER: _ClassVar[int]
    DROPS_FIELD_NUMBER: _ClassVar[int]
    MISSING_POSITIVES_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_SCANNED_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    FILLS_FIELD_NUMBER: _ClassVar[int]
    UNGROUPED_NEGATIVES_FIELD_NUMBER: _ClassVar[int]
    ids: _types_pb2.Tensor
    scores: _types_pb2.Tensor
    counts: _types_pb2.Tensor
    exact_scores: bool
    standard_errors: _types_pb2.Tensor
    positive_scores: _types_pb2.Tensor
    outcomes: _containers.RepeatedScalarFieldContainer[Outcome]
    starved_anchors: int
    drops: _containers.RepeatedCompositeFieldContainer[DropCount]
    missing_positives: _containers.RepeatedCompositeFieldContainer[MissingPositive]
    timings: _containers.RepeatedCompositeFieldContainer[Timing]
    watermark: _types_pb2.Watermark
    newest: _types_pb2.Version
    steps: _types_pb2.Tensor
    generations: _types_pb2.Tensor
    embeddings: _types_pb2.Tensor
    weights: _types_pb2.Tensor
    rows_scanned: int
    collection: str
    fills: _types_pb2.Tensor
    ungrouped_negatives: int
    def __init__(self, ids: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., scores: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., counts: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., exact_scores: bool = ..., standard_errors: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., positive_scores: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, str]]] = ..., starved_anchors: _Optional[int] = ..., drops: _Optional[_Iterable[_Union[DropCount, _Mapping]]] = ..., missing_positives: _Optional[_Iterable[_Union[MissingPositive, _Mapping]]] = ..., timings: _Optional[_Iterable[_Union[Timing, _Mapping]]] = ..., watermark: _Optional[_Union[_types_pb2.Watermark, _Mapping]] = ..., newest: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., steps: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., generations: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., embeddings: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., weights: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., rows_scanned: _Optional[int] = ..., collection: _Optional[str] = ..., fills: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., ungrouped_negatives: _Optional[int] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("request", "candidates")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    request: MineRequest
    candidates: int
    def __init__(self, request: _Optional[_Union[MineRequest, _Mapping]] = ..., candidates: _Optional[int] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("response", "ids", "scores", "verdicts", "groups")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    response: MineResponse
    ids: _types_pb2.Tensor
    scores: _types_pb2.Tensor
    verdicts: _types_pb2.Tensor
    groups: _types_pb2.Tensor
    def __init__(self, response: _Optional[_Union[MineResponse, _Mapping]] = ..., ids: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., scores: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., verdicts: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ..., groups: _Optional[_Union[_types_pb2.Tensor, _Mapping]] = ...) -> None: ...

class MineStreamRequest(_message.Message):
    __slots__ = ("number", "request")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    number: int
    request: MineRequest
    def __init__(self, number: _Optional[int] = ..., request: _Optional[_Union[MineRequest, _Mapping]] = ...) -> None: ...

class MineError(_message.Message):
    __slots__ = ("code", "reason", "message", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    retry_after_ms: int
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class MineStreamResponse(_message.Message):
    __slots__ = ("number", "response", "error")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    number: int
    response: MineResponse
    error: MineError
    def __init__(self, number: _Optional[int] = ..., response: _Optional[_Union[MineResponse, _Mapping]] = ..., error: _Optional[_Union[MineError, _Mapping]] = ...) -> None: ...
