"""Ship the templates in the wheel; an editable install reads them from the checkout instead."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Templates(BuildHookInterface):
    def initialize(self, version, build_data):
        if version != "editable":
            build_data["force_include"]["templates"] = "workbench/templates"
            name = "tools/verify_record.py"  # goes along with each exported release
            build_data["force_include"][name] = f"workbench/{name}"
