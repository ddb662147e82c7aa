#!/bin/sh
# What a build did before there was anything to orchestrate it: migrate, wait, look at the exit
# code. As in the talk "Blue/Green Rails", option 3, but for the names, and for the network, without
# which Fargate runs nothing.
MIGRATION_TASK_ARN=$(aws ecs run-task \
    --task-definition ${MIGRATIONS} \
    --cluster ${CLUSTER_NAME} \
    --network-configuration ${NETWORK} \
    --count 1 \
    --started-by deploy | jq -r '.["tasks"][0]["taskArn"]')
# waits 600 seconds
aws ecs wait tasks-stopped \
    --cluster ${CLUSTER_NAME} \
    --tasks ${MIGRATION_TASK_ARN}
MIGRATION_EXIT_CODE=$(aws ecs describe-tasks \
    --cluster ${CLUSTER_NAME} \
    --tasks ${MIGRATION_TASK_ARN} | jq -r '.["tasks"][0]["containers"][0]["exitCode"]')
if [ "${MIGRATION_EXIT_CODE}" != "0" ] ; then
    # fail build
    exit 1
fi
