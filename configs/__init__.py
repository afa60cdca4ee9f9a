"""The packaged YAML files: `--config demo` finds configs/demo.yaml from any folder."""
