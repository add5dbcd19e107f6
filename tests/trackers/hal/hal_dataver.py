"""What tells dataver of the tracker `hal`; imports it inside functions only."""

import sys

from dataver.formats.event import Context


class Hal:
    system = "hal"
    module = "hal"

    def current(self):
        active = sys.modules["hal"].ACTIVE
        return Context(system="hal", id=active[-1], kind="tracker") if active else None

    def note(self, context, use):
        import hal

        hal.log(context.id, f"{use.role} {use.ref} {use.tree}")
