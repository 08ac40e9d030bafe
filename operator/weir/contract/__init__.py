"""Data contracts as pure functions: documents, digests, compatibility, profiles, drift, and their say in a release."""
