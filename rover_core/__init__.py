"""The core of Rover: models, plugins, configuration, tasks and the agent. No eBPF in here."""
