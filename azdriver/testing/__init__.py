"""For your own tests: Azurite from one ``async with``, and the suite that a driver has to pass.

``azdriver.testing.azurite`` needs no pytest; ``azdriver.testing.conformance`` does.
"""

import sys

# Before the suite is imported, so that its failed assertions show their values in other projects
# too. Whoever runs it has loaded pytest by now; nobody else should pay for importing it.
if "pytest" in sys.modules:
    import pytest

    pytest.register_assert_rewrite("azdriver.testing.conformance")
