//! A CloudWatch alarm that is raised and calmed at will.

use std::time::Duration;

use anyhow::{Result, ensure};
pub use aws_sdk_cloudwatch::types::StateValue as State;
use aws_sdk_cloudwatch::types::{ComparisonOperator, Statistic};
use aws_types::SdkConfig;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(90);

/// An alarm of an application's stack.
#[derive(Clone, Debug)]
pub struct Alarm {
    client: aws_sdk_cloudwatch::Client,
    name: String,
}

impl Alarm {
    pub(crate) fn new(config: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            client: aws_sdk_cloudwatch::Client::new(config),
            name: name.into(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets it go into ALARM and stay there. A state that is set by hand would last until the next
    /// evaluation only.
    ///
    /// # Errors
    /// It is not in ALARM within a minute and a half.
    pub async fn raise(&self) -> Result<()> {
        self.take_silence_for("breaching", &State::Alarm).await
    }

    /// Lets it go back to OK and stay there.
    ///
    /// # Errors
    /// It is not OK within a minute and a half.
    pub async fn calm(&self) -> Result<()> {
        self.take_silence_for("notBreaching", &State::Ok).await
    }

    /// Watches a metric that nobody reports from now on.
    async fn take_silence_for(&self, missing_data: &str, state: &State) -> Result<()> {
        let request = self.client.put_metric_alarm();
        request
            .alarm_name(&self.name)
            .namespace("Stories")
            .metric_name("Never")
            .statistic(Statistic::Sum)
            .period(10)
            .evaluation_periods(1)
            .threshold(0.0)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold)
            .treat_missing_data(missing_data)
            .send()
            .await?;
        self.is(state).await
    }

    /// Waits until it is in this state.
    ///
    /// # Errors
    /// It is not within a minute and a half.
    pub async fn is(&self, state: &State) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.state().await?.as_ref() != Some(state) {
            ensure!(Instant::now() < deadline, "{} is not {state}", self.name);
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn state(&self) -> Result<Option<State>> {
        let request = self.client.describe_alarms().alarm_names(&self.name);
        let alarms = request.send().await?.metric_alarms.unwrap_or_default();
        Ok(alarms.into_iter().find_map(|alarm| alarm.state_value))
    }
}
