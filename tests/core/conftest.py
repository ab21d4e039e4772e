"""Shared by the core's tests."""

from collections.abc import Iterator

import hypothesis
import pytest
import structlog

# A busy machine is no failure.
hypothesis.settings.register_profile("rover", deadline=None)
hypothesis.settings.load_profile("rover")


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """A test that configures logging does so for itself."""
    yield
    structlog.reset_defaults()
