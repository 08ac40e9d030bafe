import json

import pytest

from weir.jobs import main
from weir.jobs.run import run
from weir.runtime.errors import Forbidden, Invalid, NotFound, Unavailable


class FakeCluster:
    """Answers writes by a script of errors (None: it is written), reads by what is stored, unless that is forbidden."""

    def __init__(self, *answers, stored=None, readable=True):
        self.answers = list(answers)
        self.stored = stored
        self.readable = readable
        self.writes = []

    async def get(self, resource, name, namespace=None):
        if not self.readable:
            raise Forbidden("no get", status=403)
        return {"metadata": {"name": name}, **({"status": self.stored} if self.stored else {})}

    async def merge_patch(self, resource, name, patch, namespace=None, *, subresource=None):
        self.writes.append((resource.kind, namespace, name, subresource, patch))
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer
        return {}


@pytest.fixture
def plan(lab, prop):
    lab.parquet({"x": [1]})
    return lab.plan([prop("x", "integer")])


@pytest.fixture
def status(plan):
    return run(plan, environment={})


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def sleep(pauses):
    async def record(length):
        pauses.append(length)

    return record


async def test_given_a_result_when_written_then_it_is_one_merge_patch_of_the_status(plan, status, sleep):
    cluster = FakeCluster(None)
    await main.write(cluster, plan, status, sleep)
    assert cluster.writes == [("ContractCheck", "shop", "orders-1", "status", {"status": status.to_dict()})]


async def test_given_transient_errors_when_written_then_again_with_growing_pauses(plan, status, sleep, pauses):
    cluster = FakeCluster(*[Unavailable("gone")] * 5, None)
    await main.write(cluster, plan, status, sleep)
    assert len(cluster.writes) == 6
    assert pauses[-1] > pauses[0]


async def test_given_a_server_that_never_answers_when_written_then_it_gives_up_with_its_error(plan, status, sleep):
    cluster = FakeCluster(*[Unavailable("gone")] * 20)
    with pytest.raises(Unavailable):
        await main.write(cluster, plan, status, sleep, attempts=4)
    assert len(cluster.writes) == 4


@pytest.mark.parametrize("refusal", [Forbidden("written once", status=403), Invalid("written once", status=422)])
async def test_given_a_refusal_because_the_result_is_there_when_written_then_it_is_fine(plan, status, sleep, refusal):
    cluster = FakeCluster(refusal, stored={"verdict": "Pass"})
    await main.write(cluster, plan, status, sleep)


async def test_given_a_lost_answer_and_no_right_to_read_when_refused_then_it_counts_as_written(plan, status, sleep):
    cluster = FakeCluster(Unavailable("lost"), Forbidden("written once", status=403), readable=False)
    await main.write(cluster, plan, status, sleep)


@pytest.mark.parametrize("readable", [True, False])
async def test_given_a_refusal_and_no_result_when_written_then_it_fails(plan, status, sleep, readable):
    cluster = FakeCluster(*[Forbidden("not your check", status=403)] * 3, readable=readable)
    with pytest.raises(Forbidden):
        await main.write(cluster, plan, status, sleep, attempts=3)


async def test_given_a_status_that_the_schema_refuses_when_written_then_it_fails_at_once(plan, status, sleep):
    cluster = FakeCluster(Invalid("bad", status=422))
    with pytest.raises(Invalid):
        await main.write(cluster, plan, status, sleep)


async def test_given_the_check_is_gone_when_written_then_it_fails_at_once(plan, status, sleep):
    with pytest.raises(NotFound):
        await main.write(FakeCluster(NotFound("gone", status=404)), plan, status, sleep)


def run_main(monkeypatch, capsys, tmp_path, text, cluster):
    async def connect(**_arguments):
        class Connected:
            async def __aenter__(self):
                return cluster

            async def __aexit__(self, *_exc):
                return None

        return Connected()

    monkeypatch.setattr(main.KubeClient, "connect", connect)
    (tmp_path / "plan.json").write_text(text)
    code = main.main(tmp_path / "plan.json")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return code, json.loads(lines[0])


def test_given_a_plan_when_the_pod_runs_then_it_writes_and_logs_one_line(monkeypatch, capsys, tmp_path, plan):
    cluster = FakeCluster(None)
    code, line = run_main(monkeypatch, capsys, tmp_path, plan.to_json(), cluster)
    assert code == 0
    assert (line["level"], line["verdict"], line["check"]) == ("info", "Pass", "orders-1")
    assert cluster.writes[0][4]["status"]["verdict"] == "Pass"


def test_given_the_write_is_refused_when_the_pod_runs_then_it_fails_and_says_why(monkeypatch, capsys, tmp_path, plan):
    code, line = run_main(monkeypatch, capsys, tmp_path, plan.to_json(), FakeCluster(NotFound("no check", status=404)))
    assert code == 1
    assert "no check" in line["message"]


@pytest.mark.parametrize("text", ["", "{}", '{"check": 1}'])
def test_given_no_plan_when_the_pod_runs_then_it_fails_and_says_why(monkeypatch, capsys, tmp_path, text):
    code, line = run_main(monkeypatch, capsys, tmp_path, text, FakeCluster())
    assert code == 1
    assert "the plan cannot be read" in line["message"]
