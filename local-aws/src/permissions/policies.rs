//! Whether the policies of a role allow what a call needs.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use std::collections::BTreeMap;

use serde::Deserialize;
use wildmatch::WildMatch;

use super::conditions::{self, Keys, Request, Texts, Unclear, all, any};

/// The version from which on a policy has variables.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>
const WITH_VARIABLES: &str = "2012-10-17";

/// What a role's calls are judged by: `{"policies": [DOCUMENT, …], "boundary": DOCUMENT}`, where the
/// permissions boundary may be null.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RolePolicies {
    policies: Vec<Policy>,
    boundary: Option<Policy>,
}

/// A document in the grammar of
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    #[serde(default)]
    version: String,
    statement: OneOrMore,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Box<Statement>),
    More(Vec<Statement>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: String,
    effect: Effect,
    action: Option<Texts>,
    not_action: Option<Texts>,
    resource: Option<Texts>,
    not_resource: Option<Texts>,
    /// By operators.
    #[serde(default)]
    condition: BTreeMap<String, Keys>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// Why a call is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    NoPolicyAllows,
    NoBoundaryAllows,
    PolicyDenies,
    BoundaryDenies,
}

impl Denial {
    /// In the words of
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>.
    pub(super) fn words(self, action: &str) -> String {
        match self {
            Self::NoPolicyAllows => {
                format!("because no identity-based policy allows the {action} action")
            }
            Self::NoBoundaryAllows => {
                format!("because no permissions boundary allows the {action} action")
            }
            Self::PolicyDenies => "with an explicit deny in an identity-based policy".to_owned(),
            Self::BoundaryDenies => "with an explicit deny in a permissions boundary".to_owned(),
        }
    }
}

impl RolePolicies {
    /// Why the request is denied, if it is, and what of the policies could not be evaluated: such a
    /// statement allows nothing, and denies what it may be about.
    pub(super) fn judge(&self, request: &Request<'_>) -> Result<(), (Denial, Vec<Unclear>)> {
        let policies = Judged::of(&self.policies, request);
        let boundary = self.boundary.as_slice();
        let boundary = (!boundary.is_empty()).then(|| Judged::of(boundary, request));
        let bounded = |is: fn(&Judged) -> bool| boundary.as_ref().is_some_and(is);
        let denial = if policies.denies {
            Denial::PolicyDenies
        } else if bounded(|boundary| boundary.denies) {
            Denial::BoundaryDenies
        } else if !policies.allows {
            Denial::NoPolicyAllows
        } else if bounded(|boundary| !boundary.allows) {
            Denial::NoBoundaryAllows
        } else {
            return Ok(());
        };
        let unclear = boundary.into_iter().chain([policies]);
        Err((denial, unclear.flat_map(|judged| judged.unclear).collect()))
    }
}

/// What some policies say of a request.
#[derive(Default)]
struct Judged {
    allows: bool,
    denies: bool,
    unclear: Vec<Unclear>,
}

impl Judged {
    fn of<'a>(policies: impl IntoIterator<Item = &'a Policy>, request: &Request<'_>) -> Self {
        let mut judged = Self::default();
        for policy in policies {
            let variables = policy.version == WITH_VARIABLES;
            let statements = match &policy.statement {
                OneOrMore::One(statement) => std::slice::from_ref(&**statement),
                OneOrMore::More(statements) => statements,
            };
            for statement in statements {
                match (statement.effect, statement.applies(request, variables)) {
                    (_, Ok(false)) => {}
                    (Effect::Allow, Ok(true)) => judged.allows = true,
                    (Effect::Deny, Ok(true)) => judged.denies = true,
                    (effect, Err(unclear)) => {
                        judged.denies |= effect == Effect::Deny;
                        judged.unclear.push(unclear);
                    }
                }
            }
        }
        judged
    }
}

impl Statement {
    fn applies(&self, request: &Request<'_>, variables: bool) -> Result<bool, Unclear> {
        let action = request.need.action.as_str();
        // The only one of IAM's patterns that knows no case.
        let names = |of: &Texts| {
            let mut patterns = of.iter();
            Ok(patterns.any(|it| WildMatch::new_case_insensitive(it).matches(action)))
        };
        if !of_these_or_but(self.action.as_ref(), self.not_action.as_ref(), names)? {
            return Ok(false);
        }
        let resource = request.need.resource.as_str();
        let covers = |of: &Texts| {
            any(of.iter().map(|pattern| {
                let pattern = request.expanded(pattern, variables)?;
                Ok(WildMatch::new(&pattern).matches(resource))
            }))
        };
        let covered = of_these_or_but(self.resource.as_ref(), self.not_resource.as_ref(), covers);
        if covered == Ok(false) {
            return Ok(false);
        }
        let conditions = self.condition.iter();
        let conditions = conditions
            .map(|(operator, keys)| conditions::holds(operator, keys, request, variables));
        all([covered].into_iter().chain(conditions))
    }
}

/// Of `Action` and `NotAction` a statement has one, as of `Resource` and `NotResource`.
fn of_these_or_but(
    these: Option<&Texts>,
    all_but: Option<&Texts>,
    are: impl Fn(&Texts) -> Result<bool, Unclear>,
) -> Result<bool, Unclear> {
    match (these, all_but) {
        (Some(these), None) => are(these),
        (None, Some(others)) => are(others).map(|are| !are),
        _ => Err(Unclear(
            "a statement has an element and its Not, or none of them".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::permissions::Need;

    const ROLE: &str = "arn:aws:iam::123456789012:role/shop/Role";

    fn need(action: &str, resource: &str, context: &[(&str, &str)]) -> Need {
        let context = context.iter();
        Need {
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: context
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn judge(policies: &Value, need: &Need) -> Result<(), Denial> {
        let policies: RolePolicies = serde_json::from_value(policies.clone()).unwrap();
        let request = Request { need, role: ROLE };
        policies.judge(&request).map_err(|(denial, _)| denial)
    }

    fn policy(statements: Value) -> Value {
        json!({"Version": WITH_VARIABLES, "Statement": statements})
    }

    /// Whether a statement, made of an Allow of everything, applies.
    fn allows(change: Value, need: &Need) -> bool {
        let mut statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        for (element, value) in change.as_object().unwrap() {
            if let Some(other) = element.strip_prefix("Not") {
                statement.as_object_mut().unwrap().remove(other);
            }
            statement[element] = value.clone();
        }
        judge(&json!({"policies": [policy(statement)]}), need).is_ok()
    }

    #[test]
    fn nothing_is_allowed_but_by_a_policy() {
        let none = json!({"policies": []});
        let stop = need("ecs:StopTask", "arn:t", &[]);
        assert_eq!(judge(&none, &stop), Err(Denial::NoPolicyAllows));
    }

    #[test]
    fn an_action_is_matched_whatever_its_case_and_a_resource_by_it() {
        let stop = need("ecs:StopTask", "arn:aws:ecs:r:a:task/shop/1", &[]);
        for (change, expected) in [
            (json!({}), true),
            (json!({"Action": ["s3:GetObject", "ECS:stop*"]}), true),
            (json!({"Action": "ecs:Stop?ask"}), true),
            (json!({"Action": "ecs:Stop"}), false),
            (json!({"Action": []}), false),
            (json!({"NotAction": "ecs:StopTask"}), false),
            (json!({"NotAction": ["iam:*", "s3:*"]}), true),
            (
                json!({"Resource": ["arn:x", "arn:*:ecs:*:*:task/shop/*"]}),
                true,
            ),
            (json!({"Resource": "arn:aws:ecs:r:a:task/SHOP/*"}), false),
            (json!({"Resource": "arn:aws:ecs:r:a:task/shop"}), false),
            (json!({"NotResource": "arn:aws:ecs:r:a:task/shop/?"}), false),
            (json!({"NotResource": "arn:aws:ecs:r:a:task/cafe/*"}), true),
        ] {
            assert_eq!(allows(change.clone(), &stop), expected, "{change}");
        }
        assert!(!allows(
            json!({"Resource": "arn:*"}),
            &need("a:B", "*", &[])
        ));
    }

    #[test]
    fn a_pattern_is_for_what_iam_says_it_is_for() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("role/bluegreen/*", "role/bluegreen/shop-TaskRole-1", true),
            ("role/bluegreen/*", "role/shop-TaskRole-1", false),
            ("*:log-stream:*", "g:log-stream:web/1", true),
        ] {
            let pass = need("iam:PassRole", text, &[]);
            let allowed = allows(json!({"Resource": pattern}), &pass);
            assert_eq!(allowed, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_deny_takes_precedence_and_a_boundary_allows_nothing_by_itself() {
        let everything = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        let deny = json!({"Effect": "Deny", "Action": "ecs:*", "Resource": "*"});
        let ecr = json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"});
        let free = policy(everything.clone());
        let stop = need("ecs:StopTask", "arn:t", &[]);
        for (policies, boundary, expected) in [
            (json!([free]), Value::Null, Ok(())),
            (json!([free]), free.clone(), Ok(())),
            (
                json!([free, policy(json!([deny]))]),
                free.clone(),
                Err(Denial::PolicyDenies),
            ),
            (
                json!([free]),
                policy(json!([everything, deny])),
                Err(Denial::BoundaryDenies),
            ),
            (json!([]), free.clone(), Err(Denial::NoPolicyAllows)),
            (json!([free]), policy(ecr), Err(Denial::NoBoundaryAllows)),
        ] {
            let role = json!({"policies": policies, "boundary": boundary});
            assert_eq!(judge(&role, &stop), expected, "{role}");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_allows_nothing_and_denies_what_it_may_be_about() {
        let unclear = json!({"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}});
        let stop = need("ecs:StopTask", "arn:t", &[]);
        assert!(!allows(json!({"Condition": unclear}), &stop));
        let deny = |action: &str| {
            let deny = json!({
                "Effect": "Deny", "Action": action, "Resource": "*", "Condition": unclear
            });
            let allow = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
            judge(&json!({"policies": [policy(json!([allow, deny]))]}), &stop)
        };
        assert_eq!(deny("ecs:*"), Err(Denial::PolicyDenies));
        assert_eq!(deny("s3:*"), Ok(()));
        let both = json!({"policies": [policy(json!({
            "Effect": "Allow", "Action": "*", "NotAction": "s3:*", "Resource": "*"
        }))]});
        assert_eq!(judge(&both, &stop), Err(Denial::NoPolicyAllows));
    }

    #[test]
    fn a_variable_is_what_the_request_has_where_the_version_knows_variables() {
        let mine = need("ecs:StopTask", "arn:aws:ecs:r:123456789012:task/1", &[]);
        let variable = json!("arn:aws:ecs:r:${aws:PrincipalAccount}:task/*");
        assert!(allows(json!({"Resource": variable}), &mine));
        let unknown = json!("arn:aws:ecs:r:${aws:PrincipalTag/team}:task/*");
        assert!(!allows(json!({"Resource": unknown}), &mine));
        let old = json!({"Version": "2008-10-17", "Statement": {
            "Effect": "Allow", "Action": "*", "Resource": variable
        }});
        let old = json!({"policies": [old]});
        assert_eq!(judge(&old, &mine), Err(Denial::NoPolicyAllows));
    }

    #[test]
    fn a_denial_is_told_in_awss_words() {
        for (denial, words) in [
            (
                Denial::NoPolicyAllows,
                "because no identity-based policy allows the ecs:RunTask action",
            ),
            (
                Denial::NoBoundaryAllows,
                "because no permissions boundary allows the ecs:RunTask action",
            ),
            (
                Denial::PolicyDenies,
                "with an explicit deny in an identity-based policy",
            ),
            (
                Denial::BoundaryDenies,
                "with an explicit deny in a permissions boundary",
            ),
        ] {
            assert_eq!(denial.words("ecs:RunTask"), words);
        }
    }
}
