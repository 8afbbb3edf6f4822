"""What the test suites of other packages import; our own tests are not installed."""
