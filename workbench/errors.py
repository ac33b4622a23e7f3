"""One error class per next action of the reader; the class fixes the exit code.

======  ======================  ==============================================
code    class                   what the reader does next
======  ======================  ==============================================
1       InputError              corrects configuration, parameters or a path
2       RunError                looks at the record of the run that broke
3       GateNotPassed           looks at the gate and its failing cases
4       WaitingForPerson        asks the person who is named
6       IntegrityError          stops, and finds out who changed what
======  ======================  ==============================================
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """What happened, where, what was expected, what was given, and what to do next."""

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        given: object = None,
        next_step: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.given = given
        self.next_step = next_step
        super().__init__(what)

    def __str__(self) -> str:
        facts = {
            "where": self.where,
            "expected": self.expected,
            "given": self.given,
            "next": self.next_step,
        }
        lines = [self.what]
        lines += [
            f"  {name + ':':<10}{value}" for name, value in facts.items() if value is not None
        ]
        return "\n".join(lines)


class InputError(WorkbenchError):
    """Wrong input: configuration, parameters, paths. Nothing ran."""

    exit_code = 1


class RunError(WorkbenchError):
    """The run broke. What it left behind is recorded as a failure."""

    exit_code = 2


class GateNotPassed(WorkbenchError):
    """A gate failed, lacked evidence or could not be evaluated."""

    exit_code = 3
    done: tuple | list = ()
    """What had been done before."""


class WaitingForPerson(WorkbenchError):
    """Nothing is wrong, but a named person has to act first."""

    exit_code = 4


class IntegrityError(WorkbenchError):
    """Something does not verify; the thing at fault is named."""

    exit_code = 6
