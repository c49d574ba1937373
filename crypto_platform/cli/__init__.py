"""The command line: one module a command.

A command parses its options, calls one function of another package, prints what that returns
and exits. Errors that a person can act on become one line; logic, SQL and cloud calls belong
elsewhere.
"""
