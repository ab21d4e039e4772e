"""How a plugin marks what it implements."""

import pluggy

hookspec = pluggy.HookspecMarker("rover")

hookimpl = pluggy.HookimplMarker("rover")
