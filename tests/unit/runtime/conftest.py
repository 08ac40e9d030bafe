import pytest
from prometheus_client import CollectorRegistry

from weir.runtime.metrics import Metrics

from .fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())
