"""Settings for all tests."""

import sys
from pathlib import Path

import hypothesis
import pytest

# So that `import strategies` works in every folder.
sys.path.insert(0, str(Path(__file__).parent))

hypothesis.settings.register_profile(
    "quick", max_examples=30, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("quick")


@pytest.fixture(autouse=True)
def own_context():
    """Each test starts and ends without current ops."""
    from thinc.backends import set_current_ops

    set_current_ops(None)
    yield
    set_current_ops(None)
