"""What moto lacks to be the AWS this project needs; one concern a module.

Each module has a function `install()` that changes moto in place, and says which hole in
moto 5.2.5 it fills. The tests beside this package fail when a patch is missing or when moto
changes underneath it.
"""

from glue import (
    alarms,
    auto_scaling,
    aws_events,
    buckets,
    databases,
    ecr_events,
    event_patterns,
    event_schedules,
    event_targets,
    executions,
    interpreter_reuse,
    intrinsic_functions,
    jsonata_evaluator,
    lambda_functions,
    load_balancers,
    metrics,
    queue_metrics,
    redrive,
    repository_tags,
    request_reuse,
    resources,
    rpc_v2_cbor,
    service_linked_roles,
    stacks,
    stale_table_reads,
    step_functions,
    table_transactions,
    task_tokens,
)

MODULES = (
    jsonata_evaluator,
    step_functions,
    executions,
    task_tokens,
    redrive,
    interpreter_reuse,
    lambda_functions,
    load_balancers,
    metrics,
    alarms,
    queue_metrics,
    auto_scaling,
    buckets,
    databases,
    service_linked_roles,
    resources,
    intrinsic_functions,
    stacks,
    aws_events,
    ecr_events,
    repository_tags,
    event_patterns,
    event_schedules,
    event_targets,
    table_transactions,
    stale_table_reads,
    rpc_v2_cbor,
    request_reuse,
)


def install() -> None:
    """Installs every patch."""
    for module in MODULES:
        module.install()
