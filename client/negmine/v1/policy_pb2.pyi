from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Policy(_message.Message):
    __slots__ = ("top", "window", "softmax", "semi_hard", "distance_weighted", "simans", "dss", "diverse", "unremix", "mixed")
    TOP_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    SOFTMAX_FIELD_NUMBER: _ClassVar[int]
    SEMI_HARD_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_WEIGHTED_FIELD_NUMBER: _ClassVar[int]
    SIMANS_FIELD_NUMBER: _ClassVar[int]
    DSS_FIELD_NUMBER: _ClassVar[int]
    DIVERSE_FIELD_NUMBER: _ClassVar[int]
    UNREMIX_FIELD_NUMBER: _ClassVar[int]
    MIXED_FIELD_NUMBER: _ClassVar[int]
    top: Top
    window: Window
    softmax: Softmax
    semi_hard: SemiHard
    distance_weighted: DistanceWeighted
    simans: Simans
    dss: Dss
    diverse: Diverse
    unremix: Unremix
    mixed: Mixed
    def __init__(self, top: _Optional[_Union[Top, _Mapping]] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., softmax: _Optional[_Union[Softmax, _Mapping]] = ..., semi_hard: _Optional[_Union[SemiHard, _Mapping]] = ..., distance_weighted: _Optional[_Union[DistanceWeighted, _Mapping]] = ..., simans: _Optional[_Union[Simans, _Mapping]] = ..., dss: _Optional[_Union[Dss, _Mapping]] = ..., diverse: _Optional[_Union[Diverse, _Mapping]] = ..., unremix: _Optional[_Union[Unremix, _Mapping]] = ..., mixed: _Optional[_Union[Mixed, _Mapping]] = ...) -> None: ...

class Top(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Window(_message.Message):
    __slots__ = ("range_min", "range_max", "sampling")
    class Sampling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SAMPLING_UNSPECIFIED: _ClassVar[Window.Sampling]
        SAMPLING_TOP: _ClassVar[Window.Sampling]
        SAMPLING_RANDOM: _ClassVar[Window.Sampling]
    SAMPLING_UNSPECIFIED: Window.Sampling
    SAMPLING_TOP: Window.Sampling
    SAMPLING_RANDOM: Window.Sampling
    RANGE_MIN_FIELD_NUMBER: _ClassVar[int]
    RANGE_MAX_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    range_min: int
    range_max: int
    sampling: Window.Sampling
    def __init__(self, range_min: _Optional[int] = ..., range_max: _Optional[int] = ..., sampling: _Optional[_Union[Window.Sampling, str]] = ...) -> None: ...

class Softmax(_message.Message):
    __slots__ = ("beta", "pool")
    BETA_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    beta: float
    pool: int
    def __init__(self, beta: _Optional[float] = ..., pool: _Optional[int] = ...) -> None: ...

class SemiHard(_message.Message):
    __slots__ = ("margin",)
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    margin: float
    def __init__(self, margin: _Optional[float] = ...) -> None: ...

class DistanceWeighted(_message.Message):
    __slots__ = ("cutoff", "nonzero_loss_cutoff", "pool")
    CUTOFF_FIELD_NUMBER: _ClassVar[int]
    NONZERO_LOSS_CUTOFF_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    cutoff: float
    nonzero_loss_cutoff: float
    pool: int
    def __init__(self, cutoff: _Optional[float] = ..., nonzero_loss_cutoff: _Optional[float] = ..., pool: _Optional[int] = ...) -> None: ...

class Simans(_message.Message):
    __slots__ = ("a", "b", "pool")
    A_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    a: float
    b: float
    pool: int
    def __init__(self, a: _Optional[float] = ..., b: _Optional[float] = ..., pool: _Optional[int] = ...) -> None: ...

class Dss(_message.Message):
    __slots__ = ("pool", "nearest")
    POOL_FIELD_NUMBER: _ClassVar[int]
    NEAREST_FIELD_NUMBER: _ClassVar[int]
    pool: int
    nearest: int
    def __init__(self, pool: _Optional[int] = ..., nearest: _Optional[int] = ...) -> None: ...

class Diverse(_message.Message):
    __slots__ = ("trade_off", "pool")
    TRADE_OFF_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    trade_off: float
    pool: int
    def __init__(self, trade_off: _Optional[float] = ..., pool: _Optional[int] = ...) -> None: ...

class Unremix(_message.Message):
    __slots__ = ("lambda_uncertainty", "lambda_similarity", "lambda_representativeness", "tau", "pool", "weights_only")
    LAMBDA_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    LAMBDA_REPRESENTATIVENESS_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_ONLY_FIELD_NUMBER: _ClassVar[int]
    lambda_uncertainty: float
    lambda_similarity: float
    lambda_representativeness: float
    tau: float
    pool: int
    weights_only: bool
    def __init__(self, lambda_uncertainty: _Optional[float] = ..., lambda_similarity: _Optional[float] = ..., lambda_representativeness: _Optional[float] = ..., tau: _Optional[float] = ..., pool: _Optional[int] = ..., weights_only: bool = ...) -> None: ...

class Mixed(_message.Message):
    __slots__ = ("random_share", "hard")
    RANDOM_SHARE_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    random_share: float
    hard: Policy
    def __init__(self, random_share: _Optional[float] = ..., hard: _Optional[_Union[Policy, _Mapping]] = ...) -> None: ...
