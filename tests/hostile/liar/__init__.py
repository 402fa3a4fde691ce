"""A server of lies: what the tests of this directory share."""
