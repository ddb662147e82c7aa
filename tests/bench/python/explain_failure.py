"""Says why a deployment failed."""

import check_exit_code
import services
import task_definition
from failures import AwsRequests, check

ecs = services.ecs

MOST_SERVICES, MOST = 5, 3
LENGTH, LINE_LENGTH = 12_000, 700
TASKS = 100
TROUBLES = ("unable", "unhealthy", "failed", "error", "could not")


def handler(event, context):
    check(event, ("update", "health"))
    update, health = event["update"], event["health"]
    described = services.describe(update["services"])
    told = [health["cause"]]
    for updated in update["services"]:
        if len(told) > MOST_SERVICES:
            break
        told += explain(updated, described.get(updated["service"], {}), update["at"])
    return {**health, "cause": "\n".join(told)[:LENGTH]}


def explain(updated, service, since):
    failed = [task for task in stopped(updated) if has_failed(task, updated["taskDefinition"])]
    failed.sort(key=lambda task: task["stoppedAt"], reverse=True)
    lines = reasons(failed) + troubles(service.get("events", []), since)
    if not lines:
        return []
    name = updated["service"].rsplit("/", 1)[-1]
    text = f"Service {name}:\n- " + "\n- ".join(lines)
    return [text + log(failed, updated["taskDefinition"])]


def stopped(updated):
    cluster, service = updated["cluster"], updated["service"]
    with AwsRequests("ecs:ListTasks", service):
        listed = ecs.list_tasks(
            cluster=cluster, serviceName=service, desiredStatus="STOPPED", maxResults=TASKS
        )
    if not listed["taskArns"]:
        return []
    with AwsRequests("ecs:DescribeTasks", service):
        return ecs.describe_tasks(cluster=cluster, tasks=listed["taskArns"])["tasks"]


def has_failed(task, revision):
    by_ecs = task.get("stoppedReason", "").startswith("Scaling activity initiated by")
    return task["taskDefinitionArn"] == revision and (not by_ecs or crashed(task))


def crashed(task):
    for container in task["containers"]:
        if container.get("exitCode", 0) not in (0, 137, 143):
            return container
    return None


def reasons(tasks):
    counted = {}
    for task in tasks:
        reason = reason_of(task)
        counted[reason] = counted.get(reason, 0) + 1
    lines = [f"{n} task{'' if n == 1 else 's'}: {reason}" for reason, n in counted.items()]
    return [line[:LINE_LENGTH] for line in lines[:MOST]]


def reason_of(task):
    parts = [f"{task['stoppedReason']}."] if task.get("stoppedReason") else []
    for container in task["containers"]:
        code = container.get("exitCode") if container is crashed(task) else None
        told = f" exited with code {code}" if code is not None else ""
        if told or container.get("reason"):
            parts.append(f"Container {container['name']}{told}: {container.get('reason', '')}")
    return " ".join(parts) or "ECS gave no reason."


def troubles(events, since):
    found = [
        f"ECS: {event['message']}"[:LINE_LENGTH]
        for event in events
        if event["createdAt"].timestamp() * 1000 >= since - 1000
        and any(word in event["message"] for word in TROUBLES)
    ]
    return list(dict.fromkeys(found))[:MOST]


def log(failed, revision):
    task = next((task for task in failed if crashed(task)), None)
    if not task:
        return ""
    described = task_definition.describe(ecs, revision)["taskDefinition"]
    name, arn = crashed(task)["name"], task["taskArn"]
    location = task_definition.log_location(described, name, arn)
    return f"\nContainer {name} of task {arn}. {check_exit_code.excerpt(location)}"
