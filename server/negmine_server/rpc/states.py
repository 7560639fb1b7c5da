"""Versions and watermarks on the wire."""

from __future__ import annotations

from negmine.v1 import types_pb2 as pb

from negmine_server.domain import Version, Watermark


def write_version(version: Version) -> pb.Version:
    """A version as a message."""
    return pb.Version(generation=version.generation, step=version.step)


def write_watermark(watermark: Watermark) -> pb.Watermark:
    """A watermark as a message."""
    return pb.Watermark(incarnation=watermark.incarnation, epoch=watermark.epoch, sequences=watermark.sequences)


def read_watermark(message: pb.Watermark) -> Watermark:
    """A message as a watermark."""
    return Watermark(message.incarnation, message.epoch, tuple(message.sequences))
