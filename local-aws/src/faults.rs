//! Faults on demand: AWS as it is on a bad day.
//!
//! A test says which calls, or which invocations of a function, shall go wrong, how, and how often:
//!
//! ```no_run
//! # use local_aws::client::LocalAws;
//! # use local_aws::faults::Fault;
//! # async fn test(aws: LocalAws) -> anyhow::Result<()> {
//! let fault = aws
//!     .fail(Fault::of("ecs", "UpdateService").with("ServerException").times(2))
//!     .await?;
//! // … what is tested …
//! assert_eq!(fault.struck().await?, 2);
//! # Ok(()) }
//! ```
//!
//! Of several faults that fit a call the oldest one strikes. Names of functions, and texts in a
//! fragment of a request, may have the wildcards `*` and `?`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use wildmatch::WildMatch;

use crate::api_call::ApiCall;

/// What shall go wrong.
#[allow(
    clippy::large_enum_variant,
    reason = "a test has a handful of them; they are large only where a crate of the workspace asks \
              for the order of JSON's fields"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "camelCase")]
pub enum Fault {
    /// Calls of an AWS API.
    Calls(CallFault),
    /// Invocations of a Lambda function, whoever invokes it and however.
    Invocations(InvocationFault),
}

/// Calls of one operation that shall go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use = "a fault does nothing before LocalAws::fail has it"]
pub struct CallFault {
    /// The service's signing name: `ecs`, `states`, `monitoring` (CloudWatch), `events`, …
    service: String,
    operation: String,
    /// Only calls by this function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    /// Only calls whose parameters contain this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_contains: Option<Value>,
    /// Only calls that have this word in a text of their parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_mentions: Option<String>,
    /// How many calls; all until it is lifted where this is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(default)]
    answer: Answer,
    /// Whether the call is carried out all the same.
    #[serde(default)]
    after_effect: bool,
    /// Whether it waits until the fault is lifted.
    #[serde(default)]
    held: bool,
    /// Real milliseconds between request and answer, beside what the call itself takes.
    #[serde(default)]
    delay_milliseconds: u64,
    /// Real milliseconds between the answer and the call, which is carried out when nobody waits for it
    /// any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carried_out_after_milliseconds: Option<u64>,
}

/// What a caller gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Answer {
    /// What the service answers, only late.
    #[default]
    Own,
    Error {
        name: String,
        message: String,
        status: u16,
        /// What the error says beside its name and its message.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        members: Map<String, Value>,
    },
    /// None: the connection is closed.
    ConnectionClosed,
}

/// Invocations of one function that shall go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use = "a fault does nothing before LocalAws::fail has it"]
pub struct InvocationFault {
    function: String,
    end: InvocationEnd,
    /// Only invocations that have this word in a text of their event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_mentions: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
}

/// How an invocation that goes wrong ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum InvocationEnd {
    /// `Runtime.ExitError`: the process is killed.
    Crash(Moment),
    /// `Sandbox.Timedout`, without waiting for as long.
    TimeOut(Moment),
    /// `TooManyRequestsException`: the function is not run.
    Throttle,
}

/// When an invocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// The process is there, but does not get the event.
    BeforeItsWork,
    /// The process has answered, but nobody hears it: the hardest case for what must happen once.
    AfterItsWork,
}

impl Fault {
    /// Calls of `operation`, as AWS's API names it, of the service with that signing name.
    ///
    /// Give it an answer ([`with`](CallFault::with),
    /// [`with_closed_connection`](CallFault::with_closed_connection)), a delay
    /// ([`late_by`](CallFault::late_by)), or let it be [`held`](CallFault::held).
    pub fn of(service: &str, operation: &str) -> CallFault {
        CallFault {
            service: service.to_owned(),
            operation: operation.to_owned(),
            caller: None,
            request_contains: None,
            request_mentions: None,
            times: None,
            answer: Answer::Own,
            after_effect: false,
            held: false,
            delay_milliseconds: 0,
            carried_out_after_milliseconds: None,
        }
    }

    /// The process of the function that runs an invocation is killed.
    pub fn crash_of(function: &str, moment: Moment) -> InvocationFault {
        InvocationFault::new(function, InvocationEnd::Crash(moment))
    }

    /// An invocation of the function does not answer in time. It takes no longer than its work.
    pub fn time_out_of(function: &str, moment: Moment) -> InvocationFault {
        InvocationFault::new(function, InvocationEnd::TimeOut(moment))
    }

    /// An invocation of the function is refused: too many are running.
    pub fn throttling_of(function: &str) -> InvocationFault {
        InvocationFault::new(function, InvocationEnd::Throttle)
    }

    fn times(&self) -> Option<u64> {
        match self {
            Self::Calls(fault) => fault.times,
            Self::Invocations(fault) => fault.times,
        }
    }

    /// # Errors
    /// A sentence when nothing could ever go wrong.
    fn check(&self) -> Result<(), &'static str> {
        if self.times() == Some(0) {
            return Err("The fault strikes 0 times.");
        }
        match self {
            Self::Calls(fault)
                if fault.answer == Answer::Own && fault.delay_milliseconds == 0 && !fault.held =>
            {
                Err("The fault does nothing: give it an error, a closed connection or a delay.")
            }
            Self::Calls(CallFault {
                answer: Answer::Own,
                carried_out_after_milliseconds: Some(_),
                ..
            }) => Err("A call that is carried out after its answer needs another than its own."),
            Self::Calls(CallFault {
                answer: Answer::Error { status, .. },
                ..
            }) if !(400..600).contains(status) => {
                Err("The status of an error is between 400 and 599.")
            }
            _ => Ok(()),
        }
    }
}

impl CallFault {
    /// Answers the error of that name, with the HTTP status that such errors have.
    pub fn with(mut self, error: &str) -> Self {
        let status = usual_status(&self.service, error);
        let message = match error {
            "ThrottlingException" | "Throttling" => "Rate exceeded",
            _ => "A fault that was asked for.",
        };
        self.answer = Answer::Error {
            name: error.to_owned(),
            message: message.to_owned(),
            status: status.as_u16(),
            members: Map::new(),
        };
        self
    }

    /// Cancels a transaction of DynamoDB, as its `TransactionCanceledException` says it: one reason
    /// for each of its actions, by its code, such as `TransactionConflict`; `None` for an action
    /// that did not stand in the way.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
    pub fn cancelling(self, codes: &[&str]) -> Self {
        let reasons = codes.iter().map(|code| match *code {
            "None" => json!({"Code": code}),
            _ => json!({"Code": code, "Message": "A fault that was asked for."}),
        });
        let reasons: Value = reasons.collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        let mut fault = self
            .with("TransactionCanceledException")
            .worded(400, &message);
        if let Answer::Error { members, .. } = &mut fault.answer {
            members.insert("CancellationReasons".to_owned(), reasons);
        }
        fault
    }

    /// The HTTP status and the message of the error. Comes after [`with`](Self::with).
    pub fn worded(mut self, status: u16, message: &str) -> Self {
        if let Answer::Error {
            status: usual,
            message: text,
            ..
        } = &mut self.answer
        {
            *usual = status;
            message.clone_into(text);
        }
        self
    }

    /// Closes the connection instead of an answer.
    pub fn with_closed_connection(mut self) -> Self {
        self.answer = Answer::ConnectionClosed;
        self
    }

    /// The call is carried out first, so that only its answer is lost.
    pub fn after_effect(mut self) -> Self {
        self.after_effect = true;
        self
    }

    /// The call is carried out so much real time after its answer, when nobody waits for it any more:
    /// as a function runs on to whom the connection was lost.
    pub fn carried_out_after(mut self, delay: Duration) -> Self {
        self.carried_out_after_milliseconds = Some(milliseconds(delay));
        self
    }

    /// The answer comes late, by so much real time.
    pub fn late_by(mut self, delay: Duration) -> Self {
        self.delay_milliseconds = milliseconds(delay);
        self
    }

    /// The call waits until the fault is lifted, and only then is carried out: a test does
    /// meanwhile what must come before it. After its effect it is the answer that waits.
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// Only where the function of this name calls.
    pub fn by(mut self, function: &str) -> Self {
        self.caller = Some(function.to_owned());
        self
    }

    /// Only where the parameters contain `fragment`: all its members, at any depth, and of a list
    /// all its items somewhere in the list.
    pub fn where_request_contains(mut self, fragment: Value) -> Self {
        self.request_contains = Some(fragment);
        self
    }

    /// Only where a text of the parameters, at any depth, has `word` in it, such as the name of a
    /// stack, which is a part of the names of all it has. Letters and digits beside it make it
    /// another word.
    pub fn where_request_mentions(mut self, word: &str) -> Self {
        self.request_mentions = Some(word.to_owned());
        self
    }

    /// Only so many calls.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    fn fits(&self, call: &ApiCall, caller: Option<&str>) -> bool {
        let by = |name: &String| caller.is_some_and(|caller| WildMatch::new(name).matches(caller));
        let asks = |fragment| {
            let parameters = call.parameters.as_ref();
            parameters.is_ok_and(|parameters| contains(parameters, fragment))
        };
        let says = |word: &String| {
            let parameters = call.parameters.as_ref();
            parameters.is_ok_and(|parameters| mentions(parameters, word))
        };
        call.is(&self.service, &self.operation)
            && self.caller.as_ref().is_none_or(by)
            && self.request_contains.as_ref().is_none_or(asks)
            && self.request_mentions.as_ref().is_none_or(says)
    }

    pub(crate) fn answer(&self) -> &Answer {
        &self.answer
    }

    pub(crate) fn lets_the_call_happen(&self) -> bool {
        self.after_effect || self.answer == Answer::Own
    }

    pub(crate) fn is_held_before_its_effect(&self) -> bool {
        self.held && !self.after_effect
    }

    pub(crate) fn is_held_after_its_effect(&self) -> bool {
        self.held && self.after_effect
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_milliseconds)
    }

    /// How long after its answer the call is carried out, if it is.
    pub(crate) fn time_after_its_answer(&self) -> Option<Duration> {
        self.carried_out_after_milliseconds
            .map(Duration::from_millis)
    }
}

impl InvocationFault {
    fn new(function: &str, end: InvocationEnd) -> Self {
        Self {
            function: function.to_owned(),
            end,
            event_mentions: None,
            times: None,
        }
    }

    /// Only where a text of the event mentions `word`, as for
    /// [calls](CallFault::where_request_mentions).
    pub fn where_event_mentions(mut self, word: &str) -> Self {
        self.event_mentions = Some(word.to_owned());
        self
    }

    /// Only so many invocations. Each retry is one.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }
}

impl From<CallFault> for Fault {
    fn from(fault: CallFault) -> Self {
        Self::Calls(fault)
    }
}

impl From<InvocationFault> for Fault {
    fn from(fault: InvocationFault) -> Self {
        Self::Invocations(fault)
    }
}

fn milliseconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

/// The HTTP status that services send an error with, unless their models say otherwise.
fn usual_status(service: &str, error: &str) -> StatusCode {
    match (service, error) {
        ("lambda", "TooManyRequestsException") => StatusCode::TOO_MANY_REQUESTS,
        ("s3", "SlowDown") => StatusCode::SERVICE_UNAVAILABLE,
        ("s3", "AccessDenied") => StatusCode::FORBIDDEN,
        ("s3", "NoSuchKey" | "NoSuchBucket") | ("lambda", "ResourceNotFoundException") => {
            StatusCode::NOT_FOUND
        }
        (_, "ServiceUnavailable" | "ServiceUnavailableException") => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        (_, "ServiceException" | "ServerException") => StatusCode::INTERNAL_SERVER_ERROR,
        (_, error) if error.starts_with("Internal") => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Whether `fragment` is a part of `whole`.
pub(crate) fn contains(whole: &Value, fragment: &Value) -> bool {
    match (whole, fragment) {
        (Value::Object(whole), Value::Object(fragment)) => fragment
            .iter()
            .all(|(name, part)| whole.get(name).is_some_and(|whole| contains(whole, part))),
        (Value::Array(whole), Value::Array(fragment)) => fragment
            .iter()
            .all(|part| whole.iter().any(|item| contains(item, part))),
        (Value::String(whole), Value::String(pattern)) => WildMatch::new(pattern).matches(whole),
        (whole, fragment) => whole == fragment,
    }
}

/// Whether a text in `whole`, at any depth, has `word` in it, with no letter or digit beside it.
pub(crate) fn mentions(whole: &Value, word: &str) -> bool {
    match whole {
        Value::Object(members) => members.values().any(|member| mentions(member, word)),
        Value::Array(items) => items.iter().any(|item| mentions(item, word)),
        Value::String(text) => text.match_indices(word).any(|(start, found)| {
            let before = text[..start].chars().next_back();
            let after = text[start + found.len()..].chars().next();
            let goes_on = |beside: Option<char>| beside.is_some_and(char::is_alphanumeric);
            !goes_on(before) && !goes_on(after)
        }),
        _ => false,
    }
}

/// A fault and what has become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    pub id: String,
    pub fault: Fault,
    /// How often it has struck.
    pub struck: u64,
    /// Whether it may strike again.
    pub open: bool,
    /// Whether somebody has ended it.
    pub lifted: bool,
}

/// All faults that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The oldest first; those that are over stay, for their counts.
    reports: Mutex<Vec<FaultReport>>,
    lifts: Notify,
}

/// A fault that strikes a call.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    pub(crate) id: String,
    pub(crate) fault: CallFault,
}

impl Faults {
    /// Lets something go wrong from now on; answers the fault's id.
    ///
    /// # Errors
    /// A sentence when nothing could go wrong by it.
    pub(crate) fn add(&self, fault: Fault) -> Result<FaultReport, &'static str> {
        fault.check()?;
        let report = FaultReport {
            id: uuid::Uuid::new_v4().to_string(),
            fault,
            struck: 0,
            open: true,
            lifted: false,
        };
        self.lock().push(report.clone());
        Ok(report)
    }

    pub(crate) fn all(&self) -> Vec<FaultReport> {
        self.lock().clone()
    }

    pub(crate) fn get(&self, id: &str) -> Option<FaultReport> {
        self.lock().iter().find(|report| report.id == id).cloned()
    }

    /// Ends a fault.
    pub(crate) fn lift(&self, id: &str) -> Option<FaultReport> {
        let mut reports = self.lock();
        let report = reports.iter_mut().find(|report| report.id == id)?;
        report.open = false;
        report.lifted = true;
        self.lifts.notify_waiters();
        Some(report.clone())
    }

    /// Waits until a fault is lifted.
    pub(crate) async fn lifted(&self, id: &str) {
        loop {
            let lifts = self.lifts.notified();
            if self.get(id).is_none_or(|report| report.lifted) {
                return;
            }
            lifts.await;
        }
    }

    /// The fault that strikes this call, which is `caller`'s if a function makes it.
    pub(crate) fn strike_call(&self, call: &ApiCall, caller: Option<&str>) -> Option<Strike> {
        self.strike(|id, fault| match fault {
            Fault::Calls(fault) if fault.fits(call, caller) => Some(Strike {
                id: id.to_owned(),
                fault: fault.clone(),
            }),
            _ => None,
        })
    }

    /// How an invocation of this function with this event, JSON, goes wrong, if it does.
    pub(crate) fn strike_invocation(&self, function: &str, event: &[u8]) -> Option<InvocationEnd> {
        let says = |word: &String| {
            serde_json::from_slice(event).is_ok_and(|event: Value| mentions(&event, word))
        };
        self.strike(|_, fault| match fault {
            Fault::Invocations(fault)
                if WildMatch::new(&fault.function).matches(function)
                    && fault.event_mentions.as_ref().is_none_or(says) =>
            {
                Some(fault.end)
            }
            _ => None,
        })
    }

    fn strike<T>(&self, fits: impl Fn(&str, &Fault) -> Option<T>) -> Option<T> {
        let mut reports = self.lock();
        for report in reports.iter_mut().filter(|report| report.open) {
            if let Some(strike) = fits(&report.id, &report.fault) {
                report.struck += 1;
                report.open = report
                    .fault
                    .times()
                    .is_none_or(|times| report.struck < times);
                return Some(strike);
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FaultReport>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    fn call(operation: &str, parameters: Value) -> ApiCall {
        ApiCall {
            service: "ecs".to_owned(),
            operation: operation.to_owned(),
            protocol: Protocol::Json("1.1".to_owned()),
            parameters: Ok(parameters),
            access_key: String::new(),
            machine_role: None,
            user_agent: String::new(),
            trace: String::new(),
        }
    }

    fn update() -> ApiCall {
        call(
            "UpdateService",
            json!({"service": "web", "tags": [{"key": "a"}, {"key": "b"}]}),
        )
    }

    /// Whether a fault would strike a call by `caller`.
    fn strikes(fault: CallFault, call: &ApiCall, caller: Option<&str>) -> bool {
        let faults = Faults::default();
        faults.add(fault.into()).unwrap();
        faults.strike_call(call, caller).is_some()
    }

    fn failing() -> CallFault {
        Fault::of("ecs", "UpdateService").with("ServerException")
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_was_asked_to_and_counts() {
        let faults = Faults::default();
        let id = faults.add(failing().times(2).into()).unwrap().id;
        let struck = || faults.strike_call(&update(), None).is_some();
        assert_eq!([struck(), struck(), struck()], [true, true, false]);
        let report = faults.get(&id).unwrap();
        assert_eq!((report.struck, report.open), (2, false));
    }

    #[test]
    fn a_fault_without_a_number_strikes_until_it_is_lifted() {
        let faults = Faults::default();
        let id = faults.add(failing().into()).unwrap().id;
        assert!(faults.strike_call(&update(), None).is_some());
        assert!(faults.strike_call(&update(), None).is_some());
        assert_eq!(faults.lift(&id).unwrap().struck, 2);
        assert!(faults.strike_call(&update(), None).is_none());
    }

    #[test]
    fn only_the_operation_the_caller_and_the_request_that_were_named_are_struck() {
        let other = call("DescribeServices", json!({}));
        assert!(strikes(failing(), &update(), None));
        assert!(!strikes(failing(), &other, None));
        let by = || failing().by("*UpdateService*");
        assert!(strikes(by(), &update(), Some("bluegreen-UpdateService-1")));
        assert!(!strikes(by(), &update(), Some("bluegreen-WaitTask-1")));
        assert!(!strikes(by(), &update(), None));
        for (fragment, expected) in [
            (json!({"service": "web"}), true),
            (json!({"service": "w?b"}), true),
            (json!({"service": "worker"}), false),
            (json!({"tags": [{"key": "b"}]}), true),
            (json!({"tags": [{"key": "c"}]}), false),
            (json!({"cluster": "web"}), false),
        ] {
            let fault = failing().where_request_contains(fragment.clone());
            assert_eq!(strikes(fault, &update(), None), expected, "{fragment}");
        }
    }

    #[test]
    fn the_oldest_of_several_faults_strikes_first() {
        let faults = Faults::default();
        let second = || Fault::of("ecs", "UpdateService").with_closed_connection();
        faults.add(failing().times(1).into()).unwrap();
        faults.add(second().into()).unwrap();
        let strike = || {
            faults
                .strike_call(&update(), None)
                .map(|strike| strike.fault)
        };
        assert_eq!(strike(), Some(failing().times(1)));
        assert_eq!(strike(), Some(second()));
    }

    #[test]
    fn a_word_is_mentioned_where_no_letter_or_digit_stands_beside_it() {
        let services = json!({"services": [{"cluster": "arn:aws:ecs:::cluster/a1-Cluster-X"}]});
        for (word, expected) in [
            ("a1", true),
            ("a1-Cluster", true),
            ("a", false),
            ("1", false),
        ] {
            assert_eq!(mentions(&services, word), expected, "{word}");
        }
        let of_web = failing().where_request_mentions("web");
        assert!(strikes(of_web, &update(), None));
        let of_worker = failing().where_request_mentions("worker");
        assert!(!strikes(of_worker, &update(), None));
    }

    #[test]
    fn an_invocation_is_found_by_what_its_event_mentions() {
        let faults = Faults::default();
        let crash = Fault::crash_of("plan", Moment::BeforeItsWork).where_event_mentions("a1");
        faults.add(crash.into()).unwrap();
        let ends = |event: &str| faults.strike_invocation("plan", event.as_bytes()).is_some();
        assert!(!ends(r#"{"stack": "a2"}"#));
        assert!(ends(r#"{"stack": "a1"}"#));
    }

    #[test]
    fn a_fault_by_which_nothing_goes_wrong_is_refused() {
        let faults = Faults::default();
        let nothing = Fault::of("ecs", "UpdateService");
        assert!(faults.add(nothing.into()).is_err());
        assert!(faults.add(failing().times(0).into()).is_err());
        let later = Fault::of("ecs", "UpdateService").held();
        let later = later.carried_out_after(Duration::ZERO);
        assert!(faults.add(later.into()).is_err());
        assert!(faults.add(failing().worded(200, "fine").into()).is_err());
    }

    #[test]
    fn an_error_has_the_status_that_its_service_sends_it_with() {
        for (service, error, expected) in [
            ("ecs", "ServerException", 500),
            ("ecs", "ThrottlingException", 400),
            ("ecs", "ClientException", 400),
            ("dynamodb", "InternalServerError", 500),
            ("lambda", "TooManyRequestsException", 429),
            ("lambda", "ServiceException", 500),
            ("s3", "SlowDown", 503),
        ] {
            let status = usual_status(service, error).as_u16();
            assert_eq!(status, expected, "{service} {error}");
        }
    }

    #[test]
    fn an_option_that_is_not_known_is_refused() {
        let fault = json!({"of": "calls", "service": "ecs", "operation": "RunTask", "time": 1});
        let error = serde_json::from_value::<Fault>(fault).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `time`"),
            "{error}"
        );
    }
}
