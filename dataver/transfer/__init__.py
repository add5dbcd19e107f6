"""Transfer of versions from one repository to another: planned, resumable, every byte verified."""

from dataver.transfer.move import MoveReport, execute_move
from dataver.transfer.plan import MovePlan, plan_move
from dataver.transfer.selection import Choice, choose

__all__ = ["Choice", "MovePlan", "MoveReport", "choose", "execute_move", "plan_move"]
