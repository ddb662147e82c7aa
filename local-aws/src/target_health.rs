//! The targets of Elastic Load Balancing, in the query protocol's form and XML: their health, and
//! those that users register themselves.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html>

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::load_balancer::{LoadBalancers, TargetHealthDescription};

const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// The `Action` of a form-encoded request.
pub(crate) fn action(body: &[u8]) -> Option<String> {
    form(body).remove("Action")
}

/// Answers a request for target health.
pub(crate) async fn describe(load_balancers: &LoadBalancers, body: &[u8]) -> Response {
    let form = form(body);
    let Some(target_group) = form.get("TargetGroupArn") else {
        return error("ValidationError", "TargetGroupArn must be given");
    };
    let only = targets(&form);
    match load_balancers
        .describe_target_health(target_group, &only)
        .await
    {
        Ok(descriptions) => xml(StatusCode::OK, answer(&descriptions)),
        Err(missing) => error("TargetGroupNotFound", &missing.to_string()),
    }
}

/// Registers or deregisters what such a request, which moto has accepted, asks for.
pub(crate) async fn follow(load_balancers: &LoadBalancers, action: &str, body: &[u8]) {
    let form = form(body);
    let Some(target_group) = form.get("TargetGroupArn") else {
        return;
    };
    for (id, port) in targets(&form) {
        let Ok(address) = id.parse() else {
            tracing::warn!(id, "only targets of the type ip get requests");
            continue;
        };
        let done = match action {
            "RegisterTargets" => {
                let target = load_balancers.register_at(target_group, address, port);
                target.await.map(drop)
            }
            "DeregisterTargets" => load_balancers.deregister(target_group, address, port).await,
            _ => return,
        };
        if let Err(error) = done {
            tracing::warn!(id, %error, "a target is not followed");
        }
    }
}

/// Refuses a listener at a port that it cannot have; no AWS has that error, so that it is one that
/// clients know of listeners.
pub(crate) fn refuse_port(
    load_balancers: &LoadBalancers,
    action: &str,
    body: &[u8],
) -> Option<Response> {
    if !matches!(action, "CreateListener" | "ModifyListener") {
        return None;
    }
    let refusal = load_balancers.port_refusal(&form(body))?;
    Some(error("InvalidConfigurationRequest", &refusal))
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(body).into_owned().collect()
}

/// `Targets.member.N.Id` and, where given, `Targets.member.N.Port`.
fn targets(form: &BTreeMap<String, String>) -> Vec<(String, Option<u16>)> {
    let member = |number: usize| {
        let id = form.get(&format!("Targets.member.{number}.Id"))?;
        let port = form.get(&format!("Targets.member.{number}.Port"));
        Some((id.clone(), port.and_then(|port| port.parse().ok())))
    };
    (1..).map_while(member).collect()
}

fn answer(descriptions: &[TargetHealthDescription]) -> String {
    let mut members = String::new();
    for description in descriptions {
        members.push_str("<member><Target>");
        element(&mut members, "Id", &description.target.id);
        element(&mut members, "Port", &description.target.port.to_string());
        members.push_str("</Target>");
        element(
            &mut members,
            "HealthCheckPort",
            &description.health_check_port,
        );
        members.push_str("<TargetHealth>");
        element(&mut members, "State", description.state.as_str());
        if let Some(reason) = description.reason {
            element(&mut members, "Reason", reason);
        }
        if let Some(text) = &description.description {
            element(&mut members, "Description", text);
        }
        members.push_str("</TargetHealth></member>");
    }
    format!(
        "<DescribeTargetHealthResponse xmlns=\"{NAMESPACE}\"><DescribeTargetHealthResult>\
         <TargetHealthDescriptions>{members}</TargetHealthDescriptions>\
         </DescribeTargetHealthResult>{}</DescribeTargetHealthResponse>",
        response_metadata()
    )
}

fn error(code: &str, message: &str) -> Response {
    let mut body = format!("<ErrorResponse xmlns=\"{NAMESPACE}\"><Error>");
    element(&mut body, "Type", "Sender");
    element(&mut body, "Code", code);
    element(&mut body, "Message", message);
    let id = uuid::Uuid::new_v4();
    body.push_str("</Error>");
    element(&mut body, "RequestId", &id.to_string());
    body.push_str("</ErrorResponse>");
    xml(StatusCode::BAD_REQUEST, body)
}

fn response_metadata() -> String {
    let id = uuid::Uuid::new_v4();
    format!("<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>")
}

fn xml(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

fn element(out: &mut String, name: &str, text: &str) {
    // Writing to a string cannot fail.
    write!(out, "<{name}>{}</{name}>", escape(text)).ok();
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_balancer::{Target, TargetState};

    #[test]
    fn the_action_is_read_from_the_form() {
        let body = b"Action=DescribeTargetHealth&Version=2015-12-01";
        assert_eq!(action(body).as_deref(), Some("DescribeTargetHealth"));
    }

    #[test]
    fn targets_are_numbered_members() {
        let form = form(
            b"Targets.member.1.Id=127.0.0.2&Targets.member.1.Port=80&Targets.member.2.Id=127.0.0.3",
        );
        let expected = [
            ("127.0.0.2".to_owned(), Some(80)),
            ("127.0.0.3".to_owned(), None),
        ];
        assert_eq!(targets(&form), expected);
    }

    #[test]
    fn a_description_is_rendered_with_its_reason() {
        let description = TargetHealthDescription {
            target: Target {
                id: "127.0.0.2".to_owned(),
                port: 3000,
            },
            health_check_port: "3000".to_owned(),
            state: TargetState::Unhealthy,
            reason: Some("Target.ResponseCodeMismatch"),
            description: Some("codes: <500>".to_owned()),
        };
        let xml = answer(&[description]);
        assert!(xml.contains("<Id>127.0.0.2</Id><Port>3000</Port>"), "{xml}");
        assert!(xml.contains("<State>unhealthy</State>"), "{xml}");
        assert!(xml.contains("codes: &lt;500&gt;"), "{xml}");
    }
}
