//! Whether the conditions of a policy's statement hold for a request.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use wildmatch::WildMatch;

use super::Need;
use crate::client::{ACCOUNT, REGION};

/// By the names of condition keys, the values that a policy compares with.
pub(super) type Keys = BTreeMap<String, Texts>;

/// What a policy has one of or a list of; a number or a truth value is as good as its text.
#[derive(Debug, Deserialize)]
#[serde(from = "Value")]
pub(super) struct Texts(Vec<String>);

impl Texts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl From<Value> for Texts {
    fn from(value: Value) -> Self {
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        let text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Self(values.into_iter().map(text).collect())
    }
}

/// What the local AWS cannot evaluate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear(pub(super) String);

/// Whether one of them is true; unclear where none is and one is unclear.
pub(super) fn any(
    several: impl IntoIterator<Item = Result<bool, Unclear>>,
) -> Result<bool, Unclear> {
    decided_by(true, several)
}

/// Whether none of them is false; unclear where none is and one is unclear.
pub(super) fn all(
    several: impl IntoIterator<Item = Result<bool, Unclear>>,
) -> Result<bool, Unclear> {
    decided_by(false, several)
}

fn decided_by(
    what: bool,
    several: impl IntoIterator<Item = Result<bool, Unclear>>,
) -> Result<bool, Unclear> {
    let mut otherwise = Ok(!what);
    for one in several {
        match one {
            Ok(one) if one == what => return Ok(what),
            Ok(_) => {}
            unclear => otherwise = unclear,
        }
    }
    otherwise
}

/// What IAM is asked, and for whom.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) need: &'a Need,
    /// The ARN of the role that calls.
    pub(super) role: &'a str,
}

impl Request<'_> {
    /// The values of a condition key; none where AWS's request has none either. Names of keys know no
    /// case.
    ///
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>
    fn values(&self, key: &str) -> Result<Vec<&str>, Unclear> {
        let name = key.to_lowercase();
        // ECS has the global key under a name of its own, too.
        let name = match name.strip_prefix("ecs:resourcetag/") {
            Some(tag) => format!("aws:resourcetag/{tag}"),
            None => name,
        };
        let context = self.need.context.iter();
        let mut told = context.filter(|(key, _)| key.to_lowercase() == name);
        if let Some((_, value)) = told.next() {
            return Ok(vec![value]);
        }
        let action = self.need.action.as_str();
        let (service, rest) = name.split_once(':').unwrap_or_default();
        let of_service = action.split_once(':').map(|(service, _)| service);
        match (service, rest) {
            ("aws", "principalarn") => Ok(vec![self.role]),
            ("aws", "principalaccount") => Ok(vec![ACCOUNT]),
            ("aws", "principaltype") => Ok(vec!["AssumedRole"]),
            ("aws", "requestedregion") => Ok(vec![REGION]),
            // As functions and state machines call AWS; here there is no TLS.
            ("aws", "securetransport") => Ok(vec!["true"]),
            ("aws", "tagkeys") if of_service == Some("ecs") => Ok(self.requested_tags()),
            ("aws", tag) if tag.starts_with("requesttag/") && of_service == Some("ecs") => {
                Ok(Vec::new())
            }
            ("aws", tag) if tag.starts_with("resourcetag/") && action == "ecs:StopTask" => {
                Ok(Vec::new())
            }
            ("ecs", "createaction") | ("iam", "passedtoservice") => Ok(Vec::new()),
            // The keys of a service are in no request of another.
            (service, _) if service != "aws" && of_service != Some(service) => Ok(Vec::new()),
            _ => Err(Unclear(format!(
                "what {action} has as {key} is not known here"
            ))),
        }
    }

    fn requested_tags(&self) -> Vec<&str> {
        let context = self.need.context.keys();
        let tags = context.filter_map(|key| key.strip_prefix("aws:RequestTag/"));
        tags.collect()
    }

    /// A text of a policy with the values of its variables. Those for wildcards themselves and those
    /// with a default are not known here.
    ///
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
    pub(super) fn expanded<'t>(
        &self,
        text: &'t str,
        variables: bool,
    ) -> Result<Cow<'t, str>, Unclear> {
        let mut parts = text.split("${");
        let first = parts.next().unwrap_or_default();
        if !variables || first.len() == text.len() {
            return Ok(text.into());
        }
        let mut expanded = first.to_owned();
        for part in parts {
            let (variable, rest) = part.split_once('}').unwrap_or((part, ""));
            match self.values(variable)?.as_slice() {
                [value] => expanded.push_str(value),
                _ => {
                    return Err(Unclear(format!(
                        "no one value is known for ${{{variable}}}"
                    )));
                }
            }
            expanded.push_str(rest);
        }
        Ok(expanded.into())
    }
}

/// Whether what stands under an operator holds, each key for itself.
pub(super) fn holds(
    operator: &str,
    keys: &Keys,
    request: &Request<'_>,
    variables: bool,
) -> Result<bool, Unclear> {
    let operator = Operator::named(operator)?;
    all(keys.iter().map(|(key, values)| {
        let texts = values
            .iter()
            .map(|value| request.expanded(value, variables));
        let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
        Ok(operator.holds(&request.values(key)?, &texts))
    }))
}

/// Such as `ForAllValues:StringNotLikeIfExists`.
struct Operator {
    of_several: Option<Quantifier>,
    /// Also where the request does not have the key.
    if_exists: bool,
    negated: bool,
    test: Test,
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>
enum Quantifier {
    All,
    Any,
}

enum Test {
    /// Whether a value is as the policy's.
    Value(fn(&str, &str) -> bool),
    /// Whether the request lacks the key.
    Null,
}

impl Operator {
    fn named(name: &str) -> Result<Self, Unclear> {
        let (of_several, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Quantifier::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Quantifier::Any), rest),
            _ => (None, name),
        };
        let exists = rest.strip_suffix("IfExists");
        let base = exists.unwrap_or(rest);
        let (negated, test) = match base {
            "StringEquals" => (false, Test::Value(equals)),
            "StringNotEquals" => (true, Test::Value(equals)),
            "StringEqualsIgnoreCase" => (false, Test::Value(equals_in_any_case)),
            "StringNotEqualsIgnoreCase" => (true, Test::Value(equals_in_any_case)),
            "StringLike" => (false, Test::Value(like)),
            "StringNotLike" => (true, Test::Value(like)),
            "ArnEquals" | "ArnLike" => (false, Test::Value(arn_like)),
            "ArnNotEquals" | "ArnNotLike" => (true, Test::Value(arn_like)),
            "Bool" => (false, Test::Value(equals_in_any_case)),
            "Null" if exists.is_none() => (false, Test::Null),
            _ => {
                return Err(Unclear(format!(
                    "the condition operator {name} is not known here"
                )));
            }
        };
        Ok(Self {
            of_several,
            if_exists: exists.is_some(),
            negated,
            test,
        })
    }

    fn holds(&self, has: &[&str], wanted: &[Cow<'_, str>]) -> bool {
        let is_as = match self.test {
            Test::Null => {
                let missing = if has.is_empty() { "true" } else { "false" };
                return wanted
                    .iter()
                    .any(|wanted| equals_in_any_case(missing, wanted));
            }
            Test::Value(is_as) => is_as,
        };
        let suits = |has: &&str| wanted.iter().any(|wanted| is_as(has, wanted)) != self.negated;
        match self.of_several {
            _ if has.is_empty() && self.if_exists => true,
            Some(Quantifier::All) => has.iter().all(suits),
            None if self.negated => has.iter().all(suits),
            Some(Quantifier::Any) | None => has.iter().any(suits),
        }
    }
}

fn equals(has: &str, wanted: &str) -> bool {
    has == wanted
}

fn equals_in_any_case(has: &str, wanted: &str) -> bool {
    has.to_lowercase() == wanted.to_lowercase()
}

fn like(has: &str, wanted: &str) -> bool {
    WildMatch::new(wanted).matches(has)
}

/// Each of the six parts of an ARN is compared for itself.
fn arn_like(has: &str, wanted: &str) -> bool {
    let parts = |arn: &str| -> Vec<String> { arn.splitn(6, ':').map(str::to_owned).collect() };
    let (has, wanted) = (parts(has), parts(wanted));
    has.len() == wanted.len()
        && has
            .iter()
            .zip(&wanted)
            .all(|(has, wanted)| like(has, wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn need(action: &str, context: &[(&str, &str)]) -> Need {
        let context = context.iter();
        Need {
            action: action.to_owned(),
            resource: "*".to_owned(),
            context: context
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn judged(condition: &Value, need: &Need) -> Result<bool, Unclear> {
        let condition: BTreeMap<String, Keys> = serde_json::from_value(condition.clone()).unwrap();
        let role = "arn:aws:iam::123456789012:role/shop/Role";
        let request = Request { need, role };
        let operators = condition.iter();
        all(operators.map(|(operator, keys)| holds(operator, keys, &request, true)))
    }

    #[test]
    fn operators_compare_as_iam_says() {
        let run = need(
            "ecs:RunTask",
            &[
                ("ecs:cluster", "arn:aws:ecs:r:a:cluster/shop"),
                ("aws:RequestTag/team", "Blue"),
            ],
        );
        let team = "aws:RequestTag/team";
        let absent = "aws:RequestTag/none";
        for (operator, key, values, expected) in [
            ("StringEquals", team, json!("Blue"), true),
            ("StringEquals", team, json!(["Red", "Blue"]), true),
            ("StringEquals", team, json!("blue"), false),
            ("StringEquals", team, json!("B*"), false),
            ("StringEquals", "AWS:requesttag/Team", json!("Blue"), true),
            ("StringEquals", absent, json!("Blue"), false),
            ("StringEqualsIfExists", absent, json!("Blue"), true),
            ("StringEqualsIfExists", team, json!("Red"), false),
            ("StringNotEquals", team, json!(["Red", "Blue"]), false),
            ("StringNotEquals", team, json!("Red"), true),
            ("StringNotEquals", absent, json!("Red"), true),
            ("StringEqualsIgnoreCase", team, json!("blue"), true),
            ("StringNotEqualsIgnoreCase", team, json!("blue"), false),
            ("StringLike", team, json!("B?u*"), true),
            ("StringLike", absent, json!("*"), false),
            ("StringNotLike", team, json!("B*"), false),
            (
                "ArnLike",
                "ecs:cluster",
                json!("arn:*:ecs:*:*:cluster/s*"),
                true,
            ),
            ("ArnEquals", "ecs:cluster", json!("arn:aws:ecs:*"), false),
            (
                "ArnNotEquals",
                "ecs:cluster",
                json!("arn:aws:ecs:r:a:cluster/x"),
                true,
            ),
            (
                "ArnNotLike",
                "ecs:cluster",
                json!("arn:aws:ecs:r:a:cluster/*"),
                false,
            ),
            ("Bool", "aws:SecureTransport", json!(true), true),
            ("Bool", "aws:SecureTransport", json!("False"), false),
            ("Null", team, json!("false"), true),
            ("Null", team, json!(true), false),
            ("Null", absent, json!("true"), true),
            (
                "ForAllValues:StringEquals",
                "aws:TagKeys",
                json!(["team", "app"]),
                true,
            ),
            (
                "ForAllValues:StringEquals",
                "aws:TagKeys",
                json!(["app"]),
                false,
            ),
            ("ForAllValues:StringEquals", absent, json!("Blue"), true),
            ("ForAnyValue:StringLike", "aws:TagKeys", json!("te*"), true),
            ("ForAnyValue:StringLike", "aws:TagKeys", json!("app"), false),
            ("ForAnyValue:StringEquals", absent, json!("Blue"), false),
            (
                "ForAnyValue:StringNotEquals",
                "aws:TagKeys",
                json!("team"),
                false,
            ),
            (
                "StringLike",
                "aws:PrincipalArn",
                json!("*:role/shop/${aws:RequestTag/none}"),
                false,
            ),
            (
                "StringEquals",
                "iam:PassedToService",
                json!("ecs.amazonaws.com"),
                false,
            ),
        ] {
            let condition = json!({operator: {key: values}});
            let held = judged(&condition, &run).unwrap_or(false);
            assert_eq!(held, expected, "{condition}");
        }
    }

    #[test]
    fn every_operator_and_every_key_has_to_hold() {
        let pass = need(
            "iam:PassRole",
            &[("iam:PassedToService", "ecs.amazonaws.com")],
        );
        let passed = json!({"iam:PassedToService": ["ecs.amazonaws.com"]});
        for (condition, expected) in [
            (json!({}), true),
            (json!({"StringEquals": passed}), true),
            (
                json!({"StringEquals": passed, "Null": {"ecs:CreateAction": "true"}}),
                true,
            ),
            (
                json!({"StringEquals": passed, "Null": {"ecs:CreateAction": "false"}}),
                false,
            ),
            (
                json!({"StringLike": {
                    "iam:PassedToService": "ecs*", "aws:PrincipalArn": "arn:*/other/*"
                }}),
                false,
            ),
        ] {
            assert_eq!(judged(&condition, &pass), Ok(expected), "{condition}");
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let stop = need("ecs:StopTask", &[("aws:ResourceTag/team", "blue")]);
        for (condition, said) in [
            (
                json!({"NumericLessThan": {"aws:MultiFactorAuthAge": "1"}}),
                "the condition operator NumericLessThan is not known here",
            ),
            (
                json!({"NullIfExists": {"aws:ResourceTag/team": "true"}}),
                "the condition operator NullIfExists is not known here",
            ),
            (
                json!({"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}),
                "what ecs:StopTask has as aws:SourceVpc is not known here",
            ),
            (
                json!({"StringEquals": {"ecs:account-setting": "1"}}),
                "what ecs:StopTask has as ecs:account-setting is not known here",
            ),
            (
                json!({"StringEquals": {"aws:ResourceTag/team": "${aws:ResourceTag/other}"}}),
                "no one value is known for ${aws:ResourceTag/other}",
            ),
        ] {
            assert_eq!(judged(&condition, &stop), Err(Unclear(said.to_owned())));
        }
        // A condition that fails all the same.
        let fails = json!({
            "StringEquals": {"ecs:ResourceTag/team": "red"}, "IpAddress": {"aws:SourceIp": "::"}
        });
        assert_eq!(judged(&fails, &stop), Ok(false));
        let of_another = json!({"StringNotEquals": {"aws:ResourceTag/team": "red"}});
        let update = need("ecs:UpdateService", &[]);
        assert!(judged(&of_another, &update).is_err());
    }
}
