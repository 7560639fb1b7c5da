"""Hard-negative mining as a service: the client.

    import negmine

    with negmine.Client("localhost:7654") as client:
        collection = client.create_collection("wiki", dimension=384, exist_ok=True)
        collection.upsert(ids, embeddings, step=step)
        negatives = collection.mine(anchors, k=16, own_ids=ids, positives=positives,
                                    protection=negmine.Protection(percent_of_positive=0.95))

Arrays go in and come out as numpy arrays, or as torch tensors where torch tensors went in. Errors are drawn in
`negmine._exceptions`; all derive from `NegmineError`.
"""

from __future__ import annotations

from negmine._async_client import AsyncClient
from negmine._async_collection import AsyncCollection
from negmine._async_writer import AsyncWriter
from negmine._client import Client
from negmine._collection import Collection
from negmine._encoding import Codes, Encoder
from negmine._exceptions import (
    Aborted,
    AlreadyExists,
    Cancelled,
    ClientClosed,
    DataLoss,
    DeadlineExceeded,
    DeviceFull,
    DeviceLost,
    Fenced,
    FingerprintMismatch,
    IncarnationMismatch,
    Internal,
    InvalidInput,
    NegmineError,
    NotFound,
    NotReady,
    Overloaded,
    PermissionDenied,
    ResourceExhausted,
    StorageFailed,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from negmine._explain import Explanation, Verdict
from negmine._models import CollectionInfo, EstimateMean, Limits, ServerInfo, Stats
from negmine._options import MineArgs, MineOptions
from negmine._policies import (
    DistanceWeighted,
    Diverse,
    Dss,
    Mixed,
    Policy,
    Protection,
    SemiHard,
    Simans,
    Softmax,
    Top,
    Unremix,
    Window,
)
from negmine._prefetch import Prefetcher
from negmine._results import (
    DeleteResult,
    Fetched,
    Negatives,
    Outcome,
    ShardStats,
    Snapshot,
    UpsertProgress,
    UpsertResult,
    Version,
    Watermark,
)
from negmine._settings import TLS, Retry
from negmine._version import __version__
from negmine._writer import Writer

__all__ = [
    "TLS",
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "AsyncCollection",
    "AsyncWriter",
    "Cancelled",
    "Client",
    "ClientClosed",
    "Codes",
    "Collection",
    "CollectionInfo",
    "DataLoss",
    "DeadlineExceeded",
    "DeleteResult",
    "DeviceFull",
    "DeviceLost",
    "DistanceWeighted",
    "Diverse",
    "Dss",
    "Encoder",
    "EstimateMean",
    "Explanation",
    "Fenced",
    "Fetched",
    "FingerprintMismatch",
    "IncarnationMismatch",
    "Internal",
    "InvalidInput",
    "Limits",
    "MineArgs",
    "MineOptions",
    "Mixed",
    "Negatives",
    "NegmineError",
    "NotFound",
    "NotReady",
    "Outcome",
    "Overloaded",
    "PermissionDenied",
    "Policy",
    "Prefetcher",
    "Protection",
    "ResourceExhausted",
    "Retry",
    "SemiHard",
    "ServerInfo",
    "ShardStats",
    "Simans",
    "Snapshot",
    "Softmax",
    "Stats",
    "StorageFailed",
    "StorageFull",
    "TooLarge",
    "Top",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unremix",
    "UpsertProgress",
    "UpsertResult",
    "Verdict",
    "Version",
    "Watermark",
    "Window",
    "Writer",
    "__version__",
]
