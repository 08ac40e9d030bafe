"""The kinds that users write and read, one module a kind; the CRDs are generated from these models."""

GROUP = "weir.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
