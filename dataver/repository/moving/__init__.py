"""Moving versions from one repository to another: planned, resumable, every byte checked on its way."""

from dataver.repository.moving.choosing import Choice, choose
from dataver.repository.moving.moving import MoveReport, execute_move
from dataver.repository.moving.plan import MovePlan, plan_move

__all__ = ["Choice", "MovePlan", "MoveReport", "choose", "execute_move", "plan_move"]
