"""From a name to the cluster of that name."""

from devcluster.embedded import Embedded
from devcluster.errors import ClusterError
from devcluster.existing import Existing
from devcluster.kind import Kind
from devcluster.paths import Cache, ClusterPaths
from devcluster.progress import Progress
from devcluster.provider import Provider, ProviderName, remembered


def provider(paths: ClusterPaths, cache: Cache, progress: Progress, name: ProviderName) -> Provider:
    """The provider of that name for one cluster; `auto` must have been resolved by provider.choose."""
    if name is ProviderName.KIND:
        return Kind(cache, paths, progress)
    if name is ProviderName.EXISTING:
        return Existing(cache, paths, progress)
    return Embedded(cache, paths, progress)


def present(name: str, *, quiet: bool = True) -> Provider:
    """The provider of a cluster that was brought up; raises ClusterError when there is none of that name."""
    cache = Cache.default()
    paths = cache.cluster(name)
    chosen = remembered(paths)
    if chosen is None:
        raise ClusterError(f"there is no cluster {name!r}", "Start it with `devcluster up`.")
    return provider(paths, cache, Progress(quiet=quiet), chosen)
