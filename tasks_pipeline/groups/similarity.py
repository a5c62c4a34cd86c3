"""How alike two groups are: MinHash signatures of what their events are made of, and the pairs that come close.

An event's features are the types of its exceptions, its frames in app (all frames where none is), and its messages in
pairs of words with numbers and ids taken out. The similarity of two groups is the share of features they have in common
(Jaccard), estimated from signatures of equal length; its standard error is below 0.045.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tasks_pipeline.grouping import parameterize

if TYPE_CHECKING:
    from datasketch import LeanMinHash  # it brings scipy: imported where signatures are made and compared

VERSION = 1  # of features and signatures; signatures of another version are made anew
PERMUTATIONS = 128
LEAST_FEATURES = 3  # with fewer, one thing in common is too much
MOST_CANDIDATES = 500  # per group, so that thousands of look-alikes do not cost their square
_SEED = 1
_MOST_FRAMES = 100
_MOST_WORDS = 60
_LONGEST_TEXT = 2_000
Pair = tuple[int, int, float]
"""(older group, newer group, similarity from 0 to 1)."""


def features(event: Mapping[str, Any]) -> set[str]:
    """What a stored event is compared by. Fields of a wrong type count as absent."""
    exceptions = _objects(_mapping(event.get("exception")).get("values"))
    stacks = [_mapping(e.get("stacktrace")) for e in exceptions] or [_mapping(event.get("stacktrace"))]
    frames = [f for stack in stacks for f in _objects(stack.get("frames"))]
    found = {f"type:{kind}" for e in exceptions if (kind := _text(e.get("type")))}
    found.update(_frame_features([f for f in frames if f.get("in_app") is True] or frames))
    entry = _mapping(event.get("logentry"))
    texts = [e.get("value") for e in exceptions] or [entry.get("message") or entry.get("formatted")]
    for text in texts:
        found.update(_word_pairs(_text(text)))
    return found


def _frame_features(frames: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for frame in frames[-_MOST_FRAMES:]:
        place = _text(frame.get("module")) or _text(frame.get("filename"))
        function = _text(frame.get("function"))
        if place or function:
            yield f"frame:{place}:{function}"


def _word_pairs(text: str) -> Iterator[str]:
    words = parameterize(text).split()[:_MOST_WORDS]
    if len(words) == 1:
        yield f"words:{words[0]}"
    for first, second in pairwise(words):
        yield f"words:{first} {second}"


def sign(found: set[str]) -> bytes:
    """The signature of features; of too few to compare it is empty but for the version."""
    if len(found) < LEAST_FEATURES:
        return bytes([VERSION])
    from datasketch import LeanMinHash, MinHash

    minhash = MinHash(num_perm=PERMUTATIONS, seed=_SEED)
    minhash.update_batch([feature.encode("utf-8", "surrogatepass") for feature in sorted(found)])
    lean = LeanMinHash(minhash)
    signature = bytearray(lean.bytesize("<"))
    lean.serialize(signature, "<")
    return bytes([VERSION]) + bytes(signature)


def is_current(signature: bytes) -> bool:
    """Whether a signature was made as it is made today."""
    return signature[:1] == bytes([VERSION])


def is_comparable(signature: bytes) -> bool:
    """Whether a signature is of enough features."""
    return len(signature) > 1


def similar_pairs(signatures: Mapping[int, bytes], threshold: float) -> list[Pair]:
    """The pairs of groups (numbered by age, with comparable signatures) that are at least so similar, the most similar
    first. Of groups with one and the same signature each is paired with the oldest only.
    """
    twins: dict[bytes, list[int]] = defaultdict(list)
    for group_id in sorted(signatures):
        twins[signatures[group_id]].append(group_id)
    pairs = [(same[0], other, 1.0) for same in twins.values() for other in same[1:]]
    pairs += _near_pairs({same[0]: signature for signature, same in twins.items()}, threshold)
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))


def _near_pairs(distinct: Mapping[int, bytes], threshold: float) -> Iterator[Pair]:
    if len(distinct) < 2:
        return
    from datasketch import LeanMinHash, MinHashLSH

    known: dict[int, LeanMinHash] = {}
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    for group_id, signature in distinct.items():  # oldest first: each finds those before it
        minhash = LeanMinHash.deserialize(signature[1:], "<")
        for older in sorted(index.query(minhash))[:MOST_CANDIDATES]:
            score = known[older].jaccard(minhash)
            if score >= threshold:
                yield older, group_id, round(score, 4)
        index.insert(group_id, minhash)
        known[group_id] = minhash


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""
