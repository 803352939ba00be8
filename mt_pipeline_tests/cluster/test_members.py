"""Who is a member of a cluster, over a real Postgres."""

import pytest

from mt_pipeline.cluster.members import Members, Versions, Worker
from mt_pipeline_tests import postgres

LAB1, LAB2 = Worker("lab1-aaa", "lab1", 4, 8 * 10**9), Worker("lab2-bbb", "lab2", 2, 64 * 10**9)


@pytest.fixture
def members(postgres_server: postgres.Server) -> Members:
    return Members(postgres_server.state)


def test_the_last_head_counts(members: Members):
    assert members.head() is None
    members.lead(Versions("1 (abc)", "4.0.17"))
    members.lead(Versions("2 (def)", None))
    assert members.head() == Versions("2 (def)", None)


def test_a_worker_is_there_until_it_leaves(members: Members):
    for worker in (LAB2, LAB1, LAB1):
        members.sign(worker)
    assert members.workers() == [LAB1, LAB2]
    members.leave(LAB1)
    assert members.workers() == [LAB2]


def test_a_worker_that_gives_no_sign_is_gone_and_comes_back(
    members: Members, postgres_server: postgres.Server
):
    members.sign(LAB1)
    postgres_server.sql("UPDATE mt_pipeline.workers SET seen_at = seen_at - interval '46 seconds'")
    assert members.workers() == []
    members.sign(LAB1)
    assert members.workers() == [LAB1]
