// An application as others write it: a load-balanced Fargate service of CDK's own pattern, with a
// sidecar, an alarm that guards its deployments, and autoscaling. Its image is the parameter that
// bluegreen writes (docs/existing-services.md).
const { App, CfnOutput, Duration, Stack, Tags } = require('aws-cdk-lib');
const cloudwatch = require('aws-cdk-lib/aws-cloudwatch');
const ec2 = require('aws-cdk-lib/aws-ec2');
const ecr = require('aws-cdk-lib/aws-ecr');
const ecs = require('aws-cdk-lib/aws-ecs');
const { ApplicationLoadBalancedFargateService } = require('aws-cdk-lib/aws-ecs-patterns');
const elb = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const iam = require('aws-cdk-lib/aws-iam');
const ssm = require('aws-cdk-lib/aws-ssm');

const NAME = 'cdk-shop';

const stack = new Stack(new App(), NAME);
const repository = ecr.Repository.fromRepositoryName(stack, 'Repository', NAME);
// Does nothing: the repository is not of this stack.
Tags.of(repository).add('bluegreen:stacks', NAME);
const image = ecs.ContainerImage.fromRegistry(
  ssm.StringParameter.valueForStringParameter(stack, `/bluegreen/${NAME}/image`),
);
// The pipeline may give tasks the roles below this path.
const role = (id) => new iam.Role(stack, id, {
  path: '/bluegreen/',
  assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com'),
});

const cluster = new ecs.Cluster(stack, 'Cluster', {
  vpc: new ec2.Vpc(stack, 'Vpc', { maxAzs: 2 }),
  enableFargateCapacityProviders: true,
  defaultCloudMapNamespace: { name: `${NAME}.local`, useForServiceConnect: true },
});
const web = new ApplicationLoadBalancedFargateService(stack, 'Web', {
  cluster,
  listenerPort: Number(process.env.LISTENER_PORT),
  protocol: elb.ApplicationProtocol.HTTP,
  circuitBreaker: { rollback: true },
  minHealthyPercent: 100,
  taskImageOptions: {
    image,
    containerPort: 3000,
    environment: { SETTING: process.env.SETTING },
    executionRole: role('ExecutionRole'),
    taskRole: role('TaskRole'),
  },
});
repository.grantPull(web.taskDefinition.obtainExecutionRole());
const sidecar = web.taskDefinition.addContainer('sidecar', {
  image,
  command: ['sidecar'],
  essential: false,
  enableRestartPolicy: true,
});
web.taskDefinition.defaultContainer.addContainerDependencies({
  container: sidecar,
  condition: ecs.ContainerDependencyCondition.START,
});
web.targetGroup.setAttribute('deregistration_delay.timeout_seconds', '30');
const alarm = web.loadBalancer.metrics
  .httpCodeTarget(elb.HttpCodeTarget.TARGET_5XX_COUNT, { period: Duration.minutes(1) })
  .createAlarm(stack, 'Errors', {
    threshold: 1,
    evaluationPeriods: 1,
    treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
  });
web.service.enableDeploymentAlarms([alarm.alarmName], {
  behavior: ecs.AlarmBehavior.ROLLBACK_ON_ALARM,
});
web.service.autoScaleTaskCount({ minCapacity: 1, maxCapacity: 4 })
  .scaleOnCpuUtilization('Cpu', { targetUtilizationPercent: 50 });

const outputs = { MigrationCommand: '["migrate"]', MigrationContainer: 'web' };
for (const [name, value] of Object.entries(outputs)) {
  new CfnOutput(stack, name, { value }).overrideLogicalId(name);
}
