//! The operations that no other story calls, so that their answers are checked as well.

use aws_sdk_ecs::error::ProvideErrorMetadata;
use aws_sdk_ecs::types::{
    CapacityProviderStrategyItem, ClusterField, ServiceConnectConfiguration, ServiceField, Tag,
    TaskDefinitionField,
};

use crate::account::{Account, CLUSTER};

fn tag() -> Tag {
    Tag::builder().key("Team").value("a").build()
}

pub(crate) async fn a_cluster_is_created_tagged_listed_and_deleted() {
    let account = Account::open();
    let ecs = &account.ecs;
    let request = ecs.create_cluster().cluster_name("tagged");
    let answer = request.tags(tag()).send().await.unwrap();
    let arn = answer.cluster().unwrap().cluster_arn().unwrap().to_owned();

    let request = ecs.describe_clusters().clusters(&arn).clusters("nowhere");
    let request = request.include(ClusterField::Tags);
    let answer = request.include(ClusterField::Settings).send().await;
    let answer = answer.unwrap();
    assert_eq!(answer.clusters()[0].tags(), [tag()]);
    assert_eq!(answer.failures()[0].reason(), Some("MISSING"));
    let answer = ecs.list_clusters().send().await.unwrap();
    assert!(answer.cluster_arns().contains(&arn));

    let request = ecs.untag_resource().resource_arn(&arn).tag_keys("Team");
    request.send().await.unwrap();
    let tags = async || {
        let request = ecs.list_tags_for_resource().resource_arn(&arn);
        request.send().await.unwrap().tags().to_vec()
    };
    assert_eq!(tags().await, []);
    let request = ecs.tag_resource().resource_arn(&arn).tags(tag());
    request.send().await.unwrap();
    assert_eq!(tags().await, [tag()]);

    let impossible = Tag::builder().key("Release").value("hotfix(v42)!").build();
    let request = ecs.tag_resource().resource_arn(&arn);
    let refused = request.tags(impossible).send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidParameterException"));
    assert!(refused.message().unwrap().contains("invalid characters"));
    assert_eq!(tags().await, [tag()]);

    let spot = CapacityProviderStrategyItem::builder().capacity_provider("FARGATE_SPOT");
    let request = ecs.put_cluster_capacity_providers().cluster(&arn);
    let request = request.capacity_providers("FARGATE_SPOT");
    let request = request.default_capacity_provider_strategy(spot.build().unwrap());
    let answer = request.send().await.unwrap();
    let given = answer.cluster().unwrap();
    assert_eq!(given.capacity_providers(), ["FARGATE_SPOT"]);

    let answer = ecs.delete_cluster().cluster(&arn).send().await.unwrap();
    assert_eq!(answer.cluster().unwrap().status(), Some("INACTIVE"));
}

pub(crate) async fn a_task_definition_is_described_listed_and_deregistered() {
    let account = Account::open();
    let ecs = &account.ecs;
    let arn = account.define("described", "image").await;
    let request = ecs.describe_task_definition().task_definition("described");
    let answer = request.include(TaskDefinitionField::Tags).send().await;
    let answer = answer.unwrap();
    let definition = answer.task_definition().unwrap();
    assert_eq!(definition.task_definition_arn(), Some(arn.as_str()));
    let request = ecs.list_task_definitions().family_prefix("described");
    assert_eq!(
        request.send().await.unwrap().task_definition_arns(),
        std::slice::from_ref(&arn)
    );
    let request = ecs.deregister_task_definition().task_definition(&arn);
    let answer = request.send().await.unwrap();
    let status = answer.task_definition().unwrap().status().unwrap();
    assert_eq!(status.as_str(), "INACTIVE");
}

pub(crate) async fn a_service_is_described_with_its_tags_and_revision() {
    let account = Account::open();
    let ecs = &account.ecs;
    let definition = account.define("revised", "image").await;
    let request = account.create_service("revised", &definition, None);
    let connect = ServiceConnectConfiguration::builder().enabled(true);
    let request = request.desired_count(0);
    let request = request.service_connect_configuration(connect.namespace("shop").build());
    request.tags(tag()).send().await.unwrap();

    let request = ecs.describe_services().cluster(CLUSTER);
    let request = request.services("revised").services("nowhere");
    let answer = request.include(ServiceField::Tags).send().await.unwrap();
    let service = &answer.services()[0];
    assert_eq!(service.tags(), [tag()]);
    let connect = service.deployments()[0].service_connect_configuration();
    assert_eq!(connect.unwrap().namespace(), Some("shop"));
    assert_eq!(answer.failures()[0].reason(), Some("MISSING"));
    let answer = ecs.list_services().cluster(CLUSTER).send().await.unwrap();
    let arn = service.service_arn().unwrap().to_owned();
    assert!(answer.service_arns().contains(&arn));

    let revision = service.current_service_revisions()[0].arn().unwrap();
    let request = ecs.describe_service_revisions();
    let request = request.service_revision_arns(revision);
    let answer = request.send().await.unwrap();
    let revision = &answer.service_revisions()[0];
    assert_eq!(revision.task_definition(), Some(definition.as_str()));
    account.delete_service("revised").await;
}
