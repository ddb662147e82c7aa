"""Checks the templates and the state machine without an AWS account.

    target/venv/bin/python tests/lint/check.py

Prints what was checked; every finding is a line, and any finding makes the exit code 1.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonata
from cfnlint.data import AdditionalSpecs
from cfnlint.decode import cfn_yaml
from cfnlint.helpers import load_resource
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from statelint.linter import Linter

sys.dont_write_bytecode = True  # The folder stays as it was checked out.

import dataflow  # noqa: E402
from expressions import Expression, expressions, functions_of_step_functions  # noqa: E402

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MACHINE = ROOT / "statemachine" / "deploy.asl.json"

# What CloudFormation puts in the place of a substitution; any other name is an ARN of a function.
SUBSTITUTES = {"Partition": "aws", "HeartbeatSeconds": "60"}

# Actions that are allowed on every resource although IAM knows resources for them, and why.
EVERY_RESOURCE = {
    "cloudformation:DescribeStackResources": "It is asked by a resource's name, without a stack's.",
    "cloudwatch:DescribeAlarms": "It tells nothing of composite alarms to whom is allowed less.",
    "ecs:ListTasks": "Its resources are container instances, of which Fargate has none.",
    "ecs:RegisterTaskDefinition": "Its documentation has not always known a resource.",
}

# How often a state that waits was tried before, and the seconds until it asks again.
HEARTBEATS = {0: 60, 30: 60, 31: 62, 1_000: 2_000}
# A rollback that an alarm makes ECS take back is begun anew, so often in all as is said there.
ROLLBACKS = ("VerifyRollback", ROOT / "functions/verify-health/src/conclusion.rs", r"const TRIES: u32 = (\d+);")

# Step Functions ends an execution whose history has more events, and nothing can catch that.
HISTORY_EVENTS = 25_000
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"
# A task that waits is scheduled, started and submitted, and its heartbeat times out.
EVENTS_OF_A_HEARTBEAT = 4

Findings = Iterator[str]


def templates() -> Findings:
    """cfn-lint at its strictest."""
    yield from cfn_lint(*sorted((ROOT / "infra").glob("*.yml")))


def security() -> Findings:
    """checkov's checks of templates and of the sample application's Dockerfile."""
    files = [*sorted((ROOT / "infra").glob("*.yml")), ROOT / "tests/websvc/Dockerfile"]
    program = ROOT / "target" / "checkov" / "bin" / "checkov"
    if not program.exists():
        yield f"{program} is missing: make lint installs it"
        return
    command = [program, "--config-file", HERE / "checkov.yml", "--output", "json"]
    command += [part for file in files for part in ("--file", file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        results = [report["results"] for report in json.loads(done.stdout)]
    except (ValueError, KeyError, TypeError):
        yield f"checkov ended with exit code {done.returncode}: {done.stdout}{done.stderr}"
        return
    passed = {
        check["file_abs_path"] for result in results for check in result["passed_checks"]
    }
    for file in files:
        if str(file) not in passed:
            yield f"{file.relative_to(ROOT)}: checkov can not read it"
    for check in (it for result in results for it in result["failed_checks"]):
        file = Path(check["file_abs_path"]).relative_to(ROOT)
        what = f"{check['check_id']}: {check['resource']}: {check['check_name']}"
        yield f"{file}:{check['file_line_range'][0]}: {what}"


def wildcards(*files: Path) -> Findings:
    """Actions that are allowed on every resource and need not be, by AWS's service authorization
    reference as cfn-lint has it."""
    services = load_resource(AdditionalSpecs, "Policies.json")
    used = set()
    for file in files:
        for statement in statements(cfn_yaml.load(str(file))):
            if "*" not in listed(statement["Resource"]):
                continue
            for action in listed(statement["Action"]):
                service, name = action.split(":")
                known = services[service]["Actions"].get(name.lower())
                where = f"{file.name}:{statement.start_mark.line + 1}: {action}"
                if known is None:
                    yield f"{where} is no action of AWS"
                elif known.get("Resources") and action not in EVERY_RESOURCE:
                    yield f"{where} is allowed on *; IAM knows {', '.join(known['Resources'])}"
                used.add(action)
    for action in sorted(EVERY_RESOURCE.keys() - used):
        yield f"{action} is not allowed on * any more: take it out of EVERY_RESOURCE"


def statements(value: object) -> Iterator[dict]:
    """Every statement of a policy that is somewhere in a template."""
    if isinstance(value, dict):
        if "Action" in value and "Resource" in value and value.get("Effect") == "Allow":
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from statements(member)


def listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


def schema(machine: dict) -> Findings:
    """cfn-lint's JSON schema of the Amazon States Language, which it applies to inline definitions only."""
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            "StateMachine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "RoleArn": "arn:aws:iam::123456789012:role/name",
                    "Definition": with_numbers(machine),
                },
            }
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "machine.json"
        file.write_text(json.dumps(template, indent=1))
        yield from cfn_lint(file)


def with_numbers(machine: dict) -> dict:
    """The machine for programs that take no expression for a number of seconds."""
    states = {
        name: {**state, "HeartbeatSeconds": 60} if "HeartbeatSeconds" in state else state
        for name, state in machine["States"].items()
    }
    return {**machine, "States": states}


def cfn_lint(*files: Path) -> Findings:
    program = Path(sys.executable).with_name("cfn-lint")
    command = [program, "--config-file", HERE / "cfnlintrc.yml"]
    command += ["--format", "parseable", "--template", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    yield from (line for line in lines if line.strip())
    if done.returncode != 0 and not any(lines):
        yield f"cfn-lint ended with exit code {done.returncode} and said nothing"


def structure(machine: dict) -> Findings:
    """statelint: fields, transitions, unreachable states."""
    yield from Linter.validate(with_numbers(machine))


def interpreter(machine: dict) -> Findings:
    """The parser of the interpreter that runs the machine in the local AWS."""
    try:
        AmazonStateLanguageParser.parse(json.dumps(machine))
    except Exception as error:  # The parser raises whatever its grammar runs into.
        yield f"{type(error).__name__}: {error}"


def syntax(machine: dict) -> Findings:
    """Every JSONata expression parses and calls only what Step Functions has."""
    known = functions_of_step_functions()
    for expression in expressions(machine):
        if expression.error:
            yield f"{expression.place}: {expression.error}"
            continue
        for name in sorted(expression.calls - known - expression.locals):
            yield f"{expression.place}: Step Functions has no function ${name}"
        for name in sorted(expression.variables & {"", "$"}):
            yield f"{expression.place}: ${name} is not allowed in Step Functions"


def variables(machine: dict) -> Findings:
    """Every variable has a value on every way to the expression that reads it."""
    yield from dataflow.findings(machine)


def retriers(machine: dict) -> Findings:
    """An error that is not retried has no delay either, and a heartbeat comes before States.Timeout, which is its
    other name."""
    for name, state in machine["States"].items():
        rules = state.get("Retry", [])
        for retrier in rules:
            if retrier.get("MaxAttempts") == 0 and len(retrier) > 2:
                yield f"{name}: a retrier with MaxAttempts 0 carries more than its errors"
        if "HeartbeatSeconds" in state and rules[0]["ErrorEquals"] != [HEARTBEAT_TIMEOUT]:
            yield f"{name}: another retrier comes before that of {HEARTBEAT_TIMEOUT}"


def heartbeats(machine: dict) -> Findings:
    """A state that waits asks again after HeartbeatSeconds; after many tries, ever more seldom."""
    for name, state in waiting(machine).items():
        for tries, expected in HEARTBEATS.items():
            seconds = heartbeat(state, tries)
            if seconds != expected:
                yield f"{name}: asks again after {seconds!r} s instead of {expected} s, tried {tries} times before"


def history(machine: dict) -> Findings:
    """However the time of an execution is divided among its waits, their heartbeats leave a seventh of its history for the
    rest. They are most in equal parts: heartbeats get fewer as a wait grows."""
    parameters = cfn_yaml.load(str(ROOT / "infra" / "pipeline.yml"))["Parameters"]
    shortest = parameters["HeartbeatSeconds"]["MinValue"]
    visits = dict.fromkeys(waiting(machine), 1)
    again, source, tries = ROLLBACKS
    if again in visits:
        visits[again] = int(re.search(tries, source.read_text())[1])
    share = machine["TimeoutSeconds"] / sum(visits.values())
    events = 0
    for name, times in visits.items():
        state = machine["States"][name]
        pause = state["Retry"][0].get("IntervalSeconds", 1)
        waited = tries = 0
        while waited < share and events <= HISTORY_EVENTS:
            seconds = heartbeat(state, tries, shortest)
            if not isinstance(seconds, int) or seconds < 1:
                yield f"{name}: asks again after {seconds!r} s, tried {tries} times before"
                break
            waited += seconds + pause
            tries += 1
            events += EVENTS_OF_A_HEARTBEAT * times
        if state["Retry"][0]["MaxAttempts"] < tries:
            yield f"{name}: is given up after {state['Retry'][0]['MaxAttempts']} heartbeats"
    if events > HISTORY_EVENTS * 6 / 7:
        yield f"the heartbeats alone write {events} of {HISTORY_EVENTS} events"


def waiting(machine: dict) -> dict:
    """The states that wait for their token's answer."""
    return {
        name: state for name, state in machine["States"].items() if "HeartbeatSeconds" in state
    }


def heartbeat(state: dict, tries: int, at_least: int | None = None) -> object:
    """Seconds until a state that was tried so often asks again; an error where its expression has one. `at_least`
    takes the place of the parameter."""
    formula = Expression.body(state["HeartbeatSeconds"])
    if at_least is not None:
        formula = formula.replace(SUBSTITUTES["HeartbeatSeconds"], str(at_least))
    states = f"$states := {{'context': {{'State': {{'RetryCount': {tries}}}}}}}"
    try:
        return jsonata.Jsonata(f"({states}; {formula})").evaluate(None)
    except Exception as error:  # Another check says what is wrong with the expression.
        return error


def substituted(text: str) -> str:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:{}"
    return re.sub(r"\$\{(\w+)\}", lambda m: SUBSTITUTES.get(m[1], arn.format(m[1])), text)


def main() -> int:
    machine = json.loads(substituted(MACHINE.read_text()))
    infra = sorted((ROOT / "infra").glob("*.yml"))
    files = len(infra)
    states = len(machine["States"])
    formulas = len(list(expressions(machine)))
    checks: list[tuple[str, Callable[[], Findings]]] = [
        (f"cfn-lint: {files} templates", templates),
        (f"checkov: {files} templates, 1 Dockerfile", security),
        (f"resources of IAM: {files} templates", lambda: wildcards(*infra)),
        (f"ASL schema: {states} states", lambda: schema(machine)),
        (f"statelint: {states} states", lambda: structure(machine)),
        (f"moto's ASL parser: {states} states", lambda: interpreter(machine)),
        (f"JSONata syntax: {formulas} expressions", lambda: syntax(machine)),
        (f"JSONata variables: {formulas} expressions", lambda: variables(machine)),
        (f"retriers: {states} states", lambda: retriers(machine)),
        (f"heartbeats: {len(waiting(machine))} states", lambda: heartbeats(machine)),
        (f"history: {HISTORY_EVENTS} events", lambda: history(machine)),
    ]
    failed = 0
    for title, check in checks:
        findings = list(check())
        failed += len(findings)
        print(f"{'FAIL' if findings else 'ok  '} {title}")
        for finding in findings:
            print(f"     {finding}")
    print(f"lint: {len(checks)} checks, {failed} findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
