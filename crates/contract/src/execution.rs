//! The input of an execution, given by a person in the console or by a function that an event
//! woke.

use crate::InvalidInput;
use aws_smithy_types::date_time::{DateTime, Format};
use serde::{Deserialize, Serialize};

/// Characters that `startedBy` may have: enough for a sentence in a list of releases.
const STARTED_BY_LENGTH: usize = 128;

/// What Step Functions takes as an execution's name
/// (<https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>).
const EXECUTION_NAME_LENGTH: usize = 80;
/// What CloudWatch takes as an alarm's name
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>).
const ALARM_NAME_LENGTH: usize = 255;
/// What ECR takes as a repository's name
/// (<https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html>).
const REPOSITORY_NAME_LENGTH: usize = 256;

/// A text for [`ExecutionInput::started_by`], cut where it is too long.
#[must_use]
pub fn started_by(text: &str) -> String {
    text.chars().take(STARTED_BY_LENGTH).collect()
}

/// What to release and where, e.g. `{"stack": "demo", "tag": "v42"}`, or that the stack is to go
/// back, `{"stack": "demo", "action": "rollback"}`, or that what only earlier releases need is to be
/// removed, `{"stack": "demo", "action": "contract"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecutionInput {
    /// Name of the CloudFormation stack that holds the services.
    pub stack: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub action: RequestedAction,
    /// Image tag. It is resolved to a digest once, when the release is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Image digest, `sha256:` and 64 hexadecimal digits. Wins over `tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Name of the ECR repository, at most 256 characters; needed only where a stack runs images of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// `false` deploys without the stack's migration. Default: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate: Option<bool>,
    /// Deploy although a later push was deployed already; roll back although ECR does not have the image
    /// any more, or the contract command has run since; contract before the time, or once more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub force: bool,
    /// Deploy although alarms of the services are in ALARM: ECS then ignores them for the whole
    /// deployment. Or contract although they are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_alarms: bool,
    /// Id of the release to go back to, which is the name of its execution, at most 80 characters;
    /// without it the last good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// When the image was pushed, RFC 3339 in UTC; two releases are put into their order by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<String>,
    /// Who or what asks, for the reader of a list of releases, e.g. `push of demo:v42`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// The alarm that asks for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<FiredAlarm>,
}

/// What an execution is asked to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RequestedAction {
    /// Bring an image into the stack.
    #[default]
    Deploy,
    /// Bring the stack back to an earlier release.
    Rollback,
    /// Run the contract command of the release that serves.
    Contract,
}

impl RequestedAction {
    const ALL: [Self; 3] = [Self::Deploy, Self::Rollback, Self::Contract];

    /// As the input says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Contract => "contract",
        }
    }

    /// The action that a word is for; without one, as in the input, a deployment.
    #[must_use]
    pub fn of(word: Option<&str>) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|action| Some(action.word()) == word)
            .unwrap_or_default()
    }
}

/// A CloudWatch alarm that went into ALARM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FiredAlarm {
    /// At most 255 characters.
    pub name: String,
    /// When its state changed, RFC 3339 in UTC.
    pub at: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ExecutionInput {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`InvalidInput`] that names the field and the form that is asked of it.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        check(is_stack_name(&self.stack), || {
            format!(
                "`stack`: `{}` is not the name of a stack (a letter, then letters, digits and hyphens, at most 128)",
                self.stack
            )
        })?;
        match self.action {
            RequestedAction::Deploy => self.check_deploy()?,
            RequestedAction::Rollback => self.check_rollback()?,
            RequestedAction::Contract => self.check_contract()?,
        }
        check_length("startedBy", self.started_by.as_deref(), STARTED_BY_LENGTH)
    }

    fn check_deploy(&self) -> Result<(), InvalidInput> {
        check(self.tag.is_some() || self.digest.is_some(), || {
            "one of `tag` and `digest` must be given".to_owned()
        })?;
        let given = [("to", self.to.is_some()), ("alarm", self.alarm.is_some())];
        refuse_all(&given, "belongs to a rollback (`\"action\": \"rollback\"`)")?;
        let tag = self.tag.as_deref().unwrap_or("-");
        check(self.tag.is_none() || is_image_tag(tag), || {
            format!(
                "`tag`: `{tag}` is not an image tag (letters, digits, `_`, `.` and `-`, at most 128)"
            )
        })?;
        let digest = self.digest.as_deref().unwrap_or("-");
        check(self.digest.is_none() || is_digest(digest), || {
            format!(
                "`digest`: `{digest}` is not a digest (`sha256:` and 64 lower case hexadecimal digits)"
            )
        })?;
        self.check_repository()?;
        self.pushed_at
            .as_deref()
            .map_or(Ok(()), |at| check_time("pushedAt", at))
    }

    fn check_rollback(&self) -> Result<(), InvalidInput> {
        let given = [
            ("tag", self.tag.is_some()),
            ("digest", self.digest.is_some()),
            ("repository", self.repository.is_some()),
            ("migrate", self.migrate.is_some()),
            ("ignoreAlarms", self.ignore_alarms),
            ("pushedAt", self.pushed_at.is_some()),
        ];
        refuse_all(
            &given,
            "has no meaning for a rollback; `to` says where it goes",
        )?;
        check_length("to", self.to.as_deref(), EXECUTION_NAME_LENGTH)?;
        let Some(alarm) = &self.alarm else {
            return Ok(());
        };
        check_length("alarm.name", Some(&alarm.name), ALARM_NAME_LENGTH)?;
        check_time("alarm.at", &alarm.at)
    }

    fn check_contract(&self) -> Result<(), InvalidInput> {
        let given = [
            ("tag", self.tag.is_some()),
            ("digest", self.digest.is_some()),
            ("migrate", self.migrate.is_some()),
            ("pushedAt", self.pushed_at.is_some()),
            ("to", self.to.is_some()),
            ("alarm", self.alarm.is_some()),
        ];
        refuse_all(
            &given,
            "has no meaning for a contract command, which is that of the release that serves",
        )?;
        self.check_repository()
    }

    fn check_repository(&self) -> Result<(), InvalidInput> {
        let repository = self.repository.as_deref();
        check_length("repository", repository, REPOSITORY_NAME_LENGTH)
    }
}

fn check(holds: bool, problem: impl FnOnce() -> String) -> Result<(), InvalidInput> {
    match holds {
        true => Ok(()),
        false => Err(InvalidInput(problem())),
    }
}

/// Refuses the first of the fields that is given.
fn refuse_all(fields: &[(&str, bool)], why: &str) -> Result<(), InvalidInput> {
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(InvalidInput(format!("`{field}`: {why}"))),
        None => Ok(()),
    }
}

fn check_length(field: &str, text: Option<&str>, most: usize) -> Result<(), InvalidInput> {
    let fits = |text: &str| (1..=most).contains(&text.chars().count());
    check(text.is_none_or(fits), || {
        format!("`{field}`: must have 1 to {most} characters")
    })
}

fn check_time(field: &str, text: &str) -> Result<(), InvalidInput> {
    check(DateTime::from_str(text, Format::DateTime).is_ok(), || {
        format!("`{field}`: `{text}` is not a time in UTC such as 2026-01-31T12:00:00Z")
    })
}

/// CloudFormation's rule for a stack's name.
fn is_stack_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// The OCI distribution specification's rule for a tag, which ECR follows.
fn is_image_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use serde_json::{Value, json};

    fn check(input: Value) -> Result<(), String> {
        parse::<ExecutionInput>(input)
            .unwrap()
            .validate()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_stack_with_a_tag_or_a_digest_is_accepted() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(check(json!({"stack": "demo", "tag": "v42"})), Ok(()));
        assert_eq!(check(json!({"stack": "demo", "digest": digest})), Ok(()));
        assert_eq!(
            check(
                json!({"stack": "d-1", "tag": "main-1.2_3", "migrate": false, "repository": "a/b"})
            ),
            Ok(())
        );
    }

    #[test]
    fn a_rollback_needs_nothing_but_the_stack() {
        for input in [
            json!({"stack": "demo", "action": "rollback"}),
            json!({"stack": "demo", "action": "rollback", "to": "demo-v1-1234", "startedBy": "me"}),
            json!({"stack": "demo", "action": "rollback", "force": true}),
            json!({
                "stack": "demo", "action": "rollback",
                "alarm": {"name": "demo-5xx", "at": "2026-01-31T12:00:00Z"}
            }),
        ] {
            assert_eq!(check(input), Ok(()));
        }
    }

    #[test]
    fn a_contract_command_needs_nothing_but_the_stack() {
        for input in [
            json!({"stack": "demo", "action": "contract"}),
            json!({"stack": "demo", "action": "contract", "repository": "web", "startedBy": "me"}),
            json!({"stack": "demo", "action": "contract", "force": true, "ignoreAlarms": true}),
        ] {
            assert_eq!(check(input), Ok(()));
        }
    }

    #[test]
    fn a_name_may_be_as_long_as_aws_lets_it_be_and_no_longer() {
        let alarm = |name: String| {
            json!({
                "stack": "demo", "action": "rollback",
                "alarm": {"name": name, "at": "2026-01-31T12:00:00Z"}
            })
        };
        let to = |to: String| json!({"stack": "demo", "action": "rollback", "to": to});
        let repository = |name: String| json!({"stack": "demo", "tag": "v1", "repository": name});
        let by = |text: String| json!({"stack": "demo", "tag": "v1", "startedBy": text});
        type Input<'a> = &'a dyn Fn(String) -> Value;
        for (field, most, input) in [
            ("`to`", 80, &to as Input),
            ("`alarm.name`", 255, &alarm),
            ("`repository`", 256, &repository),
            ("`startedBy`", 128, &by),
        ] {
            assert_eq!(check(input("é".repeat(most))), Ok(()));
            for length in [0, most + 1] {
                let message = check(input("é".repeat(length))).unwrap_err();
                assert!(message.contains(field), "{message}");
                assert!(message.contains(&most.to_string()), "{message}");
            }
        }
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        let input = json!({"stack": "demo", "tag": "v42"});
        let parsed: ExecutionInput = parse(input.clone()).unwrap();
        assert_eq!(parsed.action, RequestedAction::Deploy);
        assert_eq!(json!(parsed), input);

        let input = json!({"stack": "demo", "action": "rollback", "to": "r1"});
        assert_eq!(
            json!(parse::<ExecutionInput>(input.clone()).unwrap()),
            input
        );
    }

    #[test]
    fn each_action_refuses_what_belongs_to_another() {
        let alarm = json!({"name": "a", "at": "2026-01-31T12:00:00Z"});
        for (action, field, value) in [
            ("deploy", "to", json!("r1")),
            ("deploy", "alarm", alarm.clone()),
            ("rollback", "tag", json!("v1")),
            (
                "rollback",
                "digest",
                json!(format!("sha256:{}", "0".repeat(64))),
            ),
            ("rollback", "repository", json!("demo")),
            ("rollback", "migrate", json!(false)),
            ("rollback", "ignoreAlarms", json!(true)),
            ("rollback", "pushedAt", json!("2026-01-31T12:00:00Z")),
            ("contract", "tag", json!("v1")),
            (
                "contract",
                "digest",
                json!(format!("sha256:{}", "0".repeat(64))),
            ),
            ("contract", "migrate", json!(false)),
            ("contract", "pushedAt", json!("2026-01-31T12:00:00Z")),
            ("contract", "to", json!("r1")),
            ("contract", "alarm", alarm.clone()),
        ] {
            let mut input = json!({"stack": "demo", "action": action});
            if action == "deploy" {
                input["tag"] = json!("v1");
            }
            input[field] = value;
            let message = check(input.clone()).unwrap_err();
            assert!(
                message.contains(&format!("`{field}`")),
                "{input}: {message}"
            );
        }
    }

    #[test]
    fn an_action_has_the_word_of_the_input() {
        for action in RequestedAction::ALL {
            assert_eq!(json!(action), action.word());
            assert_eq!(RequestedAction::of(Some(action.word())), action);
        }
        assert_eq!(RequestedAction::of(None), RequestedAction::Deploy);
    }

    #[test]
    fn an_action_nobody_knows_is_named() {
        let input = json!({"stack": "demo", "action": "redeploy"});
        let message = parse::<ExecutionInput>(input).unwrap_err().to_string();
        assert!(message.contains("`action`"), "{message}");
        assert!(message.contains("redeploy"), "{message}");
    }

    #[test]
    fn every_refusal_names_its_field() {
        let cases = [
            (json!({"stack": "", "tag": "v1"}), "`stack`"),
            (json!({"stack": "1demo", "tag": "v1"}), "`stack`"),
            (
                json!({"stack": "arn:aws:cloudformation:x", "tag": "v1"}),
                "`stack`",
            ),
            (json!({"stack": "demo"}), "`tag` and `digest`"),
            (json!({"stack": "demo", "tag": ""}), "`tag`"),
            (json!({"stack": "demo", "tag": "a b"}), "`tag`"),
            (json!({"stack": "demo", "digest": "sha256:12"}), "`digest`"),
            (json!({"stack": "demo", "digest": "v1"}), "`digest`"),
            (
                json!({"stack": "demo", "tag": "v1", "pushedAt": "2026-01-31T12:00:00+01:00"}),
                "`pushedAt`",
            ),
            (
                json!({"stack": "demo", "action": "rollback", "alarm": {"name": "a", "at": "x"}}),
                "`alarm.at`",
            ),
        ];
        for (input, field) in cases {
            let message = check(input.clone()).unwrap_err();
            assert!(message.contains(field), "{input}: {message}");
        }
    }
}
