//! The waiters of boto3, by which most scripts wait.

use crate::program::{program, run};
use crate::world::World;

/// Each looks every second; none finds at once what it waits for but by looking at what is asked.
const SCRIPT: &str = r#"
import sys
import boto3
from botocore.exceptions import WaiterError

name, network = sys.argv[1:]
ecs, elb = boto3.client("ecs"), boto3.client("elbv2")
service = {"cluster": name, "services": [name]}

def wait(client, waiter, attempts=60, **of):
    config = {"Delay": 1, "MaxAttempts": attempts}
    client.get_waiter(waiter).wait(**of, WaiterConfig=config)
    print(waiter)

wait(ecs, "services_stable", **service)
group = ecs.describe_services(**service)["services"][0]["loadBalancers"][0]["targetGroupArn"]
wait(elb, "target_in_service", TargetGroupArn=group)
task = ecs.run_task(
    cluster=name, taskDefinition=name,
    networkConfiguration={"awsvpcConfiguration": {"subnets": [network]}},
)["tasks"][0]["taskArn"]
wait(ecs, "tasks_running", cluster=name, tasks=[task])
ecs.stop_task(cluster=name, task=task)
wait(ecs, "tasks_stopped", cluster=name, tasks=[task])
try:
    wait(ecs, "tasks_running", cluster=name, tasks=[task])
except WaiterError as error:
    print("refused" if "STOPPED" in str(error) else error)
try:
    wait(ecs, "services_inactive", attempts=1, **service)
except WaiterError as error:
    print("late" if "Max attempts" in str(error) else error)
ecs.delete_service(cluster=name, service=name, force=True)
wait(ecs, "services_inactive", **service)
"#;

pub(crate) async fn the_waiters_of_boto3_wait_for_what_they_are_named_after() {
    let world = World::create("waiters").await;
    world.serve_version_1().await;
    let mut command = program("python").await;
    command.args(["-c", SCRIPT, "waiters", "subnet-12345678"]);
    let output = run(&mut command).await;
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "services_stable",
            "target_in_service",
            "tasks_running",
            "tasks_stopped",
            "refused",
            "late",
            "services_inactive",
        ]
    );
}
