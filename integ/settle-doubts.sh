#!/usr/bin/env bash
# Settles in a real account what AWS's documentation leaves open or says twice. README.md beside this
# says what it asks, what it costs and what it leaves behind.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly STACK=${STACK:-integ}
readonly ANSWERS=${ANSWERS:-target/integ/$(date -u +%Y-%m-%dT%H-%M-%SZ)}
readonly PATIENCE=3600
export PATH="$PWD/target/venv/bin:$PATH"

say() { printf '%s\n' "$*"; }
answer() { printf '%-28s %s\n' "$1" "$2" | tee -a "$ANSWERS/answers.txt"; }

usage() {
  say "usage: AWS_REGION=… STACK=$STACK $0 --yes"
  say "It makes the stacks of 'make up STACK=$STACK' in this account, asks, and deletes them again."
}

[ "${1:-}" = --yes ] || { usage; exit 2; }
command -v docker >/dev/null || { say "Docker builds the images: it is missing."; exit 2; }
make target/venv/installed >/dev/null
mkdir -p "$ANSWERS"
account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_REGION:-$(aws configure get region)}
registry="$account.dkr.ecr.$region.amazonaws.com"
say "Account $account, region $region; answers go to $ANSWERS."

# Does an account without ECS's service-linked role get its first cluster at the first try?
role=present
aws iam get-role --role-name AWSServiceRoleForECS >/dev/null 2>&1 || role=absent
answer service-linked-role "before: $role"

# Does the service take the definition as the validators of `make lint` do?
definition=$(sed "s/\${Partition}/aws/g; s/\${HeartbeatSeconds}/60/g; \
s|\${[A-Za-z]*FunctionArn}|arn:aws:lambda:$region:$account:function:f|g" statemachine/deploy.asl.json)
aws stepfunctions validate-state-machine-definition --type STANDARD --severity WARNING \
  --definition "$definition" > "$ANSWERS/validation.json"
answer state-machine "$(tr -d '\n' < "$ANSWERS/validation.json")"

clean_up() {
  say "Deleting the stacks of $STACK."
  make down STACK="$STACK" YES=1 || say "Not all is deleted: 'make down STACK=$STACK' again."
}
trap clean_up EXIT

# The first time it makes the repository, and what takes long.
set_of_cluster='cluster.Strategy=BLUE_GREEN cluster.BakeTimeMinutes=2 cluster.MigrationCommand=["websvc","migrate"]'
make up STACK="$STACK" > "$ANSWERS/up.log" 2>&1 || true
aws ecr get-login-password | docker login --username AWS --password-stdin "$registry" >/dev/null
docker build --quiet --platform linux/amd64 --file tests/websvc/Dockerfile \
  --tag "$registry/$STACK:first" . >/dev/null
docker push --quiet "$registry/$STACK:first" >/dev/null
if make up STACK="$STACK" SET="$set_of_cluster" >> "$ANSWERS/up.log" 2>&1
then answer make-up "came up at the first try"
else
  answer make-up "failed at first: $(tail -n 1 "$ANSWERS/up.log")"
  make up STACK="$STACK" SET="$set_of_cluster" >> "$ANSWERS/up.log" 2>&1
  answer make-up "came up at the second try"
fi

resource() {
  aws cloudformation describe-stack-resource --stack-name "$1" --logical-resource-id "$2" \
    --query StackResourceDetail.PhysicalResourceId --output text
}
cluster=$(resource "$STACK" Cluster)
service=$(resource "$STACK" Service)
machine=$(resource bluegreen StateMachine)

# One line for each change of what DescribeServices says while a deployment goes on.
watch_service() {
  local name=$1 until=$((SECONDS + PATIENCE)) last='' now
  while [ $SECONDS -lt $until ]; do
    now=$(aws ecs describe-services --cluster "$cluster" --services "$service" --output json \
      --query 'services[0].{deployments: deployments[].[status, rolloutState, desiredCount, runningCount, failedTasks], current: currentServiceDeployment, revisions: currentServiceRevisions}')
    if [ "$now" != "$last" ]; then
      printf '%s %s\n' "$(date -u +%H:%M:%S)" "$(tr -d ' \n' <<<"$now")" >> "$ANSWERS/$name.txt"
      last=$now
    fi
    ended "$name" && break
    sleep 2
  done
}

ended() {
  local status
  status=$(aws stepfunctions list-executions --state-machine-arn "$machine" --max-results 1 \
    --query 'executions[0].status' --output text)
  [ "$status" != RUNNING ] && answer "release-$1" "$status"
}

release() {
  local name=$1 tag=$2 dockerfile=$3
  docker build --quiet --platform linux/amd64 --tag "$registry/$STACK:$tag" - <<<"$dockerfile" >/dev/null
  docker push --quiet "$registry/$STACK:$tag" >/dev/null
  sleep 15
  watch_service "$name"
}

# Is rolloutState told of a service that shifts traffic: before, in and after the bake time?
release good good "FROM $registry/$STACK:first
ENV TITLE=second"
rollout=$(grep -c '"COMPLETED"\|"IN_PROGRESS"' "$ANSWERS/good.txt" || true)
answer rolloutState "told in $rollout of $(wc -l < "$ANSWERS/good.txt") answers of a blue/green service"

# Does the circuit breaker act on a service that shifts traffic?
release crashing crashing "FROM $registry/$STACK:first
CMD [\"false\"]"
breaker=$(aws ecs list-service-deployments --cluster "$cluster" --service "$service" --max-results 1 \
  --query 'serviceDeployments[0].[status, statusReason]' --output text)
answer circuit-breaker "a crashing blue/green deployment ended as: $breaker"

# May ListTasks filter by startedBy and desiredStatus at once?
if listed=$(aws ecs list-tasks --cluster "$cluster" --started-by "bluegreen/$STACK" \
  --desired-status STOPPED --query 'length(taskArns)' --output text 2>&1)
then answer list-tasks "startedBy with desiredStatus is taken ($listed tasks)"
else answer list-tasks "refused: $listed"
fi

# May on-alarm's role ask CloudFormation of which stack an alarm is?
group=$(resource bluegreen OnAlarmLogGroup)
aws cloudwatch set-alarm-state --alarm-name "$(resource "$STACK" ErrorAlarm)" --state-value ALARM --state-reason "integ"
sleep 60
refused=$(aws logs filter-log-events --log-group-name "$group" --filter-pattern AccessDenied \
  --query 'length(events)' --output text)
answer on-alarm "DescribeStackResources was refused $refused times"

say "All answers: $ANSWERS/answers.txt"
