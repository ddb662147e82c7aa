//! Listeners and rules as they are made through Elastic Load Balancing's API.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, FixedResponseActionConfig, ForwardActionConfig, RedirectActionConfig,
    RedirectActionStatusCodeEnum, RuleCondition, TargetGroupTuple,
};

use crate::account::{Account, Balancer};

/// A listener's ARN, found by the port in the balancer's URL.
async fn listener(account: &Account, balancer: &Balancer) -> String {
    let port = balancer.url.rsplit(':').next().unwrap();
    let balancers = account
        .elbv2
        .describe_load_balancers()
        .send()
        .await
        .unwrap();
    for one in balancers.load_balancers() {
        let listeners = account
            .elbv2
            .describe_listeners()
            .set_load_balancer_arn(one.load_balancer_arn().map(ToOwned::to_owned))
            .send()
            .await
            .unwrap();
        for listener in listeners.listeners() {
            if listener.port().unwrap().to_string() == port {
                return listener.listener_arn().unwrap().to_owned();
            }
        }
    }
    panic!("no listener has port {port}");
}

async fn serve(account: &Account, name: &str, version: &str) -> Balancer {
    let image = account.push_server(version, &[]).await;
    let definition = account.define(name, &image).await;
    let balancer = account.balancer(name).await;
    account
        .create_service(name, &definition, Some(&balancer))
        .desired_count(1)
        .send()
        .await
        .unwrap();
    account.newest_deployment(name, "SUCCESSFUL").await;
    balancer
}

fn to_group(balancer: &Balancer) -> Action {
    Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .target_group_arn(&balancer.target_group)
        .build()
}

async fn add_rule(
    account: &Account,
    listener: &str,
    priority: i32,
    (field, value): (&str, &str),
    action: Action,
) {
    account
        .elbv2
        .create_rule()
        .listener_arn(listener)
        .priority(priority)
        .conditions(RuleCondition::builder().field(field).values(value).build())
        .actions(action)
        .send()
        .await
        .unwrap();
}

pub(crate) async fn a_listener_follows_its_rules_and_weights() {
    let account = Account::open();
    let one = serve(&account, "rules-one", "1").await;
    let two = serve(&account, "rules-two", "2").await;
    let arn = listener(&account, &one).await;

    let teapot = FixedResponseActionConfig::builder()
        .status_code("418")
        .message_body("teapot")
        .build();
    let teapot = Action::builder()
        .r#type(ActionTypeEnum::FixedResponse)
        .fixed_response_config(teapot)
        .build();
    let elsewhere = RedirectActionConfig::builder()
        .protocol("HTTPS")
        .port("443")
        .status_code(RedirectActionStatusCodeEnum::Http301)
        .build();
    let elsewhere = Action::builder()
        .r#type(ActionTypeEnum::Redirect)
        .redirect_config(elsewhere)
        .build();
    add_rule(
        &account,
        &arn,
        30,
        ("path-pattern", "/two/*"),
        to_group(&two),
    )
    .await;
    add_rule(&account, &arn, 10, ("host-header", "*.teapot.test"), teapot).await;
    add_rule(&account, &arn, 20, ("path-pattern", "/two/old"), elsewhere).await;

    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let get = async |path: &str, host: &str| {
        let request = client
            .get(format!("{}{path}", one.url))
            .header("host", host);
        let answer = request.send().await.unwrap();
        let location = answer.headers().get("location").cloned();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap(), location)
    };
    assert_eq!(get("/", "app.test").await.1, "1");
    assert_eq!(get("/two/x", "app.test").await.1, "2");
    let (status, body, _) = get("/two/x", "a.teapot.test").await;
    assert_eq!((status, body.as_str()), (418, "teapot"));
    let (status, _, location) = get("/two/old?a=b", "app.test").await;
    assert_eq!(status, 301);
    assert_eq!(location.unwrap(), "https://app.test:443/two/old?a=b");

    let weighted = |balancer: &Balancer, weight| {
        TargetGroupTuple::builder()
            .target_group_arn(&balancer.target_group)
            .weight(weight)
            .build()
    };
    let mix = ForwardActionConfig::builder()
        .target_groups(weighted(&one, 75))
        .target_groups(weighted(&two, 25))
        .build();
    let mix = Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .forward_config(mix)
        .build();
    account
        .elbv2
        .modify_listener()
        .listener_arn(&arn)
        .default_actions(mix)
        .send()
        .await
        .unwrap();
    let mut twos = 0;
    for _ in 0..100 {
        twos += usize::from(get("/", "app.test").await.1 == "2");
    }
    assert!((22..=28).contains(&twos), "{twos}");

    let health = account
        .elbv2
        .describe_target_health()
        .target_group_arn(&one.target_group)
        .send()
        .await
        .unwrap();
    let target = &health.target_health_descriptions()[0];
    let state = target.target_health().unwrap().state().unwrap();
    assert_eq!(state.as_str(), "healthy");

    account
        .elbv2
        .delete_listener()
        .listener_arn(&arn)
        .send()
        .await
        .unwrap();
    assert!(client.get(&one.url).send().await.is_err());
    for name in ["rules-one", "rules-two"] {
        account.delete_service(name).await;
    }
}
