//! The [control API](crate::control), typed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::LocalAws;
use crate::control::{InterruptedTask, MissingCapacity};
use crate::ecs::Interruption;
use crate::faults::{Fault, FaultReport};
use crate::modes::Modes;
use crate::permissions::Need;
use crate::recorder::{Call, Calls};
use crate::stale_reads::{Lag, StaleReadsReport};

const STRIKE_POLL: Duration = Duration::from_millis(50);

impl LocalAws {
    /// A TCP port on the loopback address for a listener of the load balancer. It stays taken
    /// until the listener exists.
    pub async fn reserve_port(&self) -> anyhow::Result<u16> {
        #[derive(serde::Deserialize)]
        struct Reserved {
            port: u16,
        }
        let reserved: Reserved = self.ask(Method::POST, "ports").await?;
        Ok(reserved.port)
    }

    /// Stores a blob of an image (its configuration or a layer), and answers its digest,
    /// `sha256:…`, for use in the image's manifest. One that is there already is not sent again.
    pub async fn upload_blob(&self, blob: impl Into<Bytes>) -> anyhow::Result<String> {
        let blob = blob.into();
        let digest = format!("sha256:{}", hex(&Sha256::digest(&blob)));
        let path = format!("blobs/{digest}");
        let known = self.request(Method::HEAD, &path).send().await?;
        if known.status() == StatusCode::NOT_FOUND {
            send(self.request(Method::PUT, &path).body(blob)).await?;
        }
        Ok(digest)
    }

    /// Lets calls, or invocations of a function, go wrong from now on.
    pub async fn fail(&self, fault: impl Into<Fault>) -> anyhow::Result<OpenFault<'_>> {
        let report: FaultReport = self.tell(Method::POST, "faults", &fault.into()).await?;
        Ok(OpenFault {
            aws: self,
            id: report.id,
        })
    }

    /// All faults that there were, the oldest first, with how often each has struck.
    pub async fn faults(&self) -> anyhow::Result<Vec<FaultReport>> {
        self.ask(Method::GET, "faults").await
    }

    /// Lets ECS's reads be as if its newest write had not happened, for so much real time after
    /// each.
    pub async fn read_late(&self, lag: Duration) -> anyhow::Result<StaleReads<'_>> {
        self.begin_stale_reads(ECS_READS, milliseconds(lag)?).await
    }

    /// Lets ECS's reads be as if its newest write had not happened, until so many of them had
    /// another answer than they would have had.
    pub async fn next_reads_are_stale(&self, reads: u64) -> anyhow::Result<StaleReads<'_>> {
        self.begin_stale_reads(ECS_READS, Lag::Reads(reads)).await
    }

    /// Lets reads of DynamoDB's tables that do not ask for `ConsistentRead` be as if the table's
    /// newest write had not happened, for so much real time after each.
    pub async fn read_tables_late(&self, lag: Duration) -> anyhow::Result<StaleReads<'_>> {
        let lag = milliseconds(lag)?;
        self.begin_stale_reads(TABLE_READS, lag).await
    }

    /// Lets reads of DynamoDB's tables that do not ask for `ConsistentRead` be as if the table's
    /// newest write had not happened, until so many of them had another answer than they would
    /// have had.
    pub async fn next_table_reads_are_stale(&self, reads: u64) -> anyhow::Result<StaleReads<'_>> {
        self.begin_stale_reads(TABLE_READS, Lag::Reads(reads)).await
    }

    async fn begin_stale_reads(
        &self,
        path: &'static str,
        lag: Lag,
    ) -> anyhow::Result<StaleReads<'_>> {
        let _: StaleReadsReport = self.tell(Method::PUT, path, &lag).await?;
        Ok(StaleReads { aws: self, path })
    }

    /// Lets ECS's request limits hold, as for an account that was idle before. They hold in real
    /// time.
    pub async fn limit_requests(&self) -> anyhow::Result<LimitedRequests<'_>> {
        send(self.request(Method::PUT, "request-limits")).await?;
        Ok(LimitedRequests { aws: self })
    }

    /// Lets ECS do what these modes say, in place of what it did.
    pub async fn set_modes(&self, modes: Modes) -> anyhow::Result<()> {
        send(self.request(Method::PUT, "modes").json(&modes)).await?;
        Ok(())
    }

    /// Lets the next `tasks` tasks of a cluster find no capacity.
    pub async fn lack_capacity(&self, cluster: &str, tasks: usize) -> anyhow::Result<()> {
        let missing = MissingCapacity {
            cluster: cluster.to_owned(),
            tasks,
        };
        let request = self.request(Method::POST, "missing-capacity");
        send(request.json(&missing)).await?;
        Ok(())
    }

    /// How many tasks of a cluster will still find no capacity.
    pub async fn lacking_capacity(&self, cluster: &str) -> anyhow::Result<usize> {
        #[derive(serde::Deserialize)]
        struct Missing {
            tasks: usize,
        }
        let path = format!("missing-capacity/{cluster}");
        let missing: Missing = self.ask(Method::GET, &path).await?;
        Ok(missing.tasks)
    }

    /// Ends a task as AWS does when it takes away what the task runs on.
    ///
    /// # Errors
    /// It does not run.
    pub async fn interrupt(
        &self,
        task_arn: &str,
        interruption: Interruption,
        reason: &str,
    ) -> anyhow::Result<()> {
        let task = InterruptedTask {
            task_arn: task_arn.to_owned(),
            stop_code: interruption,
            reason: reason.to_owned(),
        };
        let request = self.request(Method::POST, "interruptions");
        send(request.json(&task)).await?;
        Ok(())
    }

    /// The newest calls of all AWS APIs.
    pub async fn calls(&self) -> anyhow::Result<Calls> {
        self.calls_since(0.0).await
    }

    /// The newest calls of all AWS APIs since then, in seconds since the epoch.
    pub async fn calls_since(&self, time: f64) -> anyhow::Result<Calls> {
        let path = format!("calls?since={time}");
        let calls: Vec<Call> = self.ask(Method::GET, &path).await?;
        Ok(calls.into())
    }

    /// What each function, by its name, and the state machines
    /// ([`STATE_MACHINES`](crate::permissions::STATE_MACHINES)) have ever asked IAM for.
    pub async fn asked(&self) -> anyhow::Result<BTreeMap<String, BTreeSet<Need>>> {
        self.ask(Method::GET, "asked").await
    }

    /// Of that what their roles did not allow, since this was last asked.
    pub async fn refused(&self) -> anyhow::Result<BTreeMap<String, BTreeSet<Need>>> {
        self.ask(Method::POST, "refused").await
    }

    pub(super) async fn check_that_faults_struck(&self) -> anyhow::Result<()> {
        let faults = self.faults().await?;
        let idle: Vec<&Fault> = faults
            .iter()
            .filter(|report| report.struck == 0)
            .map(|report| &report.fault)
            .collect();
        if !idle.is_empty() {
            bail!(
                "these faults never struck: {}",
                serde_json::to_string(&idle)?
            );
        }
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/_local/{path}", self.endpoint);
        self.http.request(method, url)
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> anyhow::Result<T> {
        Ok(send(self.request(method, path)).await?.json().await?)
    }

    async fn tell<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = self.request(method, path).json(body);
        Ok(send(request).await?.json().await?)
    }
}

/// A fault that was asked for with [`LocalAws::fail`].
#[derive(Debug)]
pub struct OpenFault<'a> {
    aws: &'a LocalAws,
    id: String,
}

impl OpenFault<'_> {
    /// How often it has struck.
    pub async fn struck(&self) -> anyhow::Result<u64> {
        let report: FaultReport = self.aws.ask(Method::GET, &self.path()).await?;
        Ok(report.struck)
    }

    /// Waits until it has struck: a call that is [held](crate::faults::CallFault::held) is there.
    ///
    /// # Errors
    /// It has not within `patience`.
    pub async fn strikes(&self, patience: Duration) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let report: FaultReport = self.aws.ask(Method::GET, &self.path()).await?;
            if report.struck > 0 {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let fault = serde_json::to_string(&report.fault)?;
                bail!("{fault} has not struck within {patience:?}");
            }
            tokio::time::sleep(STRIKE_POLL).await;
        }
    }

    /// Ends it, and answers how often it has struck.
    ///
    /// # Errors
    /// It never struck.
    pub async fn lift(self) -> anyhow::Result<u64> {
        let report: FaultReport = self.aws.ask(Method::DELETE, &self.path()).await?;
        if report.struck == 0 {
            bail!("{} never struck", serde_json::to_string(&report.fault)?);
        }
        Ok(report.struck)
    }

    fn path(&self) -> String {
        format!("faults/{}", self.id)
    }
}

const ECS_READS: &str = "stale-reads";
const TABLE_READS: &str = "dynamodb/stale-reads";

fn milliseconds(lag: Duration) -> anyhow::Result<Lag> {
    let lag = u64::try_from(lag.as_millis()).context("no lag is so long")?;
    Ok(Lag::Milliseconds(lag))
}

/// Reads of ECS, or of DynamoDB's tables, that are behind.
#[derive(Debug)]
pub struct StaleReads<'a> {
    aws: &'a LocalAws,
    path: &'static str,
}

impl StaleReads<'_> {
    /// How many reads had another answer than the current state would have given.
    pub async fn count(&self) -> anyhow::Result<u64> {
        let report: StaleReadsReport = self.aws.ask(Method::GET, self.path).await?;
        Ok(report.stale)
    }

    /// Ends it, and answers how many reads were stale.
    ///
    /// # Errors
    /// None was.
    pub async fn end(self) -> anyhow::Result<u64> {
        let report: StaleReadsReport = self.aws.ask(Method::DELETE, self.path).await?;
        if report.stale == 0 {
            bail!("no read was stale");
        }
        Ok(report.stale)
    }
}

/// ECS's request limits, which hold.
#[derive(Debug)]
pub struct LimitedRequests<'a> {
    aws: &'a LocalAws,
}

impl LimitedRequests<'_> {
    /// Lets them hold no more.
    pub async fn end(self) -> anyhow::Result<()> {
        send(self.aws.request(Method::DELETE, "request-limits")).await?;
        Ok(())
    }
}

/// Sends a request; an answer that is an error is one here, with its words.
async fn send(request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
    let response = request.send().await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().clone();
    bail!("{url}: {status}: {}", response.text().await?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
