"""The words that the transactional programs write, and which of them a reader may see."""

import check

# Records of a transaction, the same number for each partition.
EACH = 30
# The transactions in their order.
ROUNDS = ["first", "aborted", "second"]


def words(kind):
    """What a transaction of this kind writes; word `n` goes to partition `n % PARTITIONS`."""
    return [f"{kind}-{n}" for n in range(EACH)]


def by_partition(kinds):
    return {p: [w for kind in kinds for w in words(kind)[p :: check.PARTITIONS]] for p in range(check.PARTITIONS)}


def committed(*more):
    """What a reader of committed records sees after the rounds and these transactions."""
    return by_partition([kind for kind in ROUNDS if kind != "aborted"] + list(more))


def everything():
    """What is there after the rounds, whatever became of it."""
    return by_partition(ROUNDS)
