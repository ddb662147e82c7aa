use crate::failure::{Failure, Lost, Named, Reason, Removed};
use crate::target::{self, Choice, Release, Releases, Why};
use bluegreen_contract::{
    Action, ChooseTargetInput, InvalidInput, NamedRelease, ServingImage, Target, WantedRevision,
    name_in, parse,
};
use bluegreen_release::{Contracted, Record, Records, Table};
use bluegreen_runtime::AwsRequestFailed;
use serde_json::Value;

/// How many releases further back are asked about where the image of the chosen one is gone.
const FURTHER_BACK: usize = 10;

pub(crate) struct Clients {
    pub(crate) table: Table,
    pub(crate) ecr: aws_sdk_ecr::Client,
}

/// Chooses where the services go back to, by the records of the stack's releases.
pub(crate) async fn handle(clients: &Clients, event: Value) -> Result<Target, Failure> {
    let input: ChooseTargetInput = parse(event)?;
    let target = match input.failed {
        true => after_failure(&clients.table, &input).await?,
        false => when_asked(clients, &input).await?,
    };
    let release = target.release.as_ref().map(|release| &release.record);
    let before = target.first.as_ref().map(|first| &first.record);
    tracing::info!(
        release,
        before,
        target.unread,
        "where the services go back to is chosen"
    );
    Ok(target)
}

/// Only from the table it is known where a rollback leads that somebody asked for. Nothing has been
/// changed yet: where the table does not answer, nothing is.
async fn when_asked(clients: &Clients, input: &ChooseTargetInput) -> Result<Target, Failure> {
    let (table, release) = (&clients.table, &input.plan.release);
    let turn = table.turn(&release.stack).await?;
    let current = match &turn.current {
        Some(current) if current.record == release.record => return once_more(table, input).await,
        Some(current) => table.record(&release.stack, &current.record).await?,
        None => None,
    };
    let current = current.and_then(Release::of);
    let current = current.as_ref();
    let to = release.to.as_deref();
    let mut search = Search::new(table, input);
    let choice = search.choose(Why::Asked { to, current }).await?;
    let goes_before = matches!(choice, Choice::BeforeFirst(_));
    let (chosen, back) = match choice {
        Choice::Release(chosen) => {
            let back = Back::to(table, input, &chosen).await?;
            (chosen, back)
        }
        Choice::BeforeFirst(first) => {
            let back = Back::before(table, input, &first).await?;
            (first, back)
        }
        Choice::SameBefore(first) => {
            return Err(nothing(input, Reason::SameBefore((&first).into())));
        }
        Choice::Before { .. } | Choice::Nowhere => {
            return Err(nothing(input, Reason::without_release(to)));
        }
    };
    let services = target::when_asked(&now(input), &back.services);
    if services.is_empty() {
        let reason = match goes_before && back.services.is_empty() {
            true => Reason::without_release(to),
            false => Reason::NoServiceLeft((&chosen).into()),
        };
        return Err(nothing(input, reason));
    }
    let contracted = turn.contracted(&chosen.repository);
    let contracted = contracted.filter(|_| !release.force);
    if let Some(contracted) = contracted {
        check_contracted(input, &chosen, goes_before, contracted, &search.read)?;
    }
    let comes_back = !goes_before && current.is_some_and(|current| current.record == chosen.record);
    // Tasks of the release that serves may run still.
    if !comes_back && !release.force {
        let further = Further {
            chosen: &chosen,
            current,
            contracted,
        };
        check_images(clients, input, further, &back, &mut search).await?;
    }
    let taken_back = target::taken_back(current, &search.read);
    let taken_back = taken_back.filter(|taken| goes_before || taken.record != chosen.record);
    Ok(Target {
        requested: true,
        taken_back: taken_back.map(Release::named),
        services,
        ..back.target(&chosen, &search.read)
    })
}

/// An earlier try of this very rollback has brought the services back already, before the execution was
/// redriven: they go to the same once more, and no further.
async fn once_more(table: &Table, input: &ChooseTargetInput) -> Result<Target, Failure> {
    let own = record(table, input, &input.plan.release.record).await?;
    let own = own.unwrap_or_default();
    let goes_before = own.restores_before.is_some();
    let restored = match own.restores_before.or(own.restores) {
        Some(key) => record_of(table, input, &key).await?,
        None => None,
    };
    let Some(restored) = restored else {
        return Err(nothing(input, Reason::NothingKnown));
    };
    let back = match goes_before {
        true => Back::before(table, input, &restored).await?,
        false => Back::to(table, input, &restored).await?,
    };
    let mut search = Search::new(table, input);
    search
        .until(|releases| releases.reach(&restored.record).then(Vec::new))
        .await?;
    Ok(Target {
        requested: true,
        services: target::when_asked(&now(input), &back.services),
        ..back.target(&restored, &search.read)
    })
}

/// What a contract command has removed, the services may need that ran before the release whose it was.
fn check_contracted(
    input: &ChooseTargetInput,
    chosen: &Release,
    before_first: bool,
    contracted: &Contracted,
    read: &[Release],
) -> Result<(), Failure> {
    let ran_before = match before_first {
        true => chosen.record <= contracted.release,
        false => chosen.is_before(&contracted.release),
    };
    if !ran_before {
        return Ok(());
    }
    let mut known = read.iter();
    let known = known.find(|release| release.record == contracted.release);
    Err(Failure::ReleaseContracted(Box::new(Removed {
        stack: input.plan.release.stack.clone(),
        before_first,
        release: chosen.into(),
        contracted: match known {
            Some(release) => Named::from(release).to_string(),
            None => name_in(&contracted.release).to_owned(),
        },
        by: name_in(&contracted.by).to_owned(),
    })))
}

/// Which releases could be gone back to where the image of the chosen one is gone.
#[derive(Clone, Copy)]
struct Further<'a> {
    chosen: &'a Release,
    current: Option<&'a Release>,
    contracted: Option<&'a Contracted>,
}

impl Further<'_> {
    /// Whether no contract command has removed what it may need.
    fn may_run(&self, release: &Release) -> bool {
        let contracted = self.contracted;
        contracted.is_none_or(|contracted| !release.is_before(&contracted.release))
    }
}

/// An image that ECR has lost, by a life-cycle rule for instance, is seen before any service is touched:
/// no task of it would start. A check that cannot be made keeps nobody from going back.
async fn check_images(
    clients: &Clients,
    input: &ChooseTargetInput,
    further: Further<'_>,
    back: &Back,
    search: &mut Search<'_>,
) -> Result<(), Failure> {
    let Some(image) = lost(clients, &back.images).await.into_iter().next() else {
        return Ok(());
    };
    let Further {
        chosen, current, ..
    } = further;
    let mut others = search
        .until(|releases| target::further_back(chosen, current, releases, FURTHER_BACK))
        .await?;
    others.retain(|release| further.may_run(release));
    let reference = |release: &Release| Some(release.image.as_ref()?.reference.clone());
    let images: Vec<String> = others.iter().filter_map(reference).collect();
    let lost = lost(clients, &images).await;
    let there = others.into_iter().find(|release| {
        let image = release.image.as_ref();
        image.is_some_and(|image| !lost.contains(&image.reference))
    });
    Err(Failure::RollbackImageNotFound(Box::new(Lost {
        stack: input.plan.release.stack.clone(),
        image,
        before_first: back.first.is_some(),
        release: chosen.into(),
        instead: there.as_ref().map(Into::into),
    })))
}

/// Those of the images that ECR does not have any more, as far as it says.
async fn lost(clients: &Clients, images: &[String]) -> Vec<String> {
    match bluegreen_ecr::missing(&clients.ecr, images).await {
        Ok(missing) => missing,
        Err(failure) => {
            tracing::warn!(%failure, "nobody knows whether ECR still has the images");
            Vec::new()
        }
    }
}

/// What the services ran before a release that failed is known from its plan. The table says whether
/// that was good; where it does not answer, the services go back all the same. Whether ECR still has the
/// image is not asked: tasks of it may run still.
async fn after_failure(table: &Table, input: &ChooseTargetInput) -> Result<Target, Failure> {
    let Some(repository) = input.plan.release.repository.as_deref() else {
        let problem = "`plan.release.repository`: only a deployment is taken back when it fails";
        return Err(InvalidInput(problem.to_owned()).into());
    };
    // Nobody has found healthy yet what is verified.
    let suspect = input.touched || input.plan.action == Action::Verify;
    let why = Why::Failed {
        repository,
        suspect,
    };
    let mut search = Search::new(table, input);
    let (chosen, back) = match search.choose(why).await {
        Ok(Choice::Release(chosen)) => {
            let back = Back::to(table, input, &chosen).await?;
            (chosen, back)
        }
        Ok(Choice::BeforeFirst(first)) => {
            let back = Back::before(table, input, &first).await?;
            (first, back)
        }
        Ok(Choice::Before { serving }) => return Ok(to_before(input, serving, false)),
        Ok(Choice::SameBefore(_) | Choice::Nowhere) => {
            return Err(nothing(input, Reason::NothingKnown));
        }
        Err(failure) => {
            let Some(unread) = target::before_unread(repository, suspect, &search.read) else {
                return Err(failure.into());
            };
            tracing::warn!(%failure, "the services go back without the table");
            return Ok(to_before(input, None, !unread.vouched));
        }
    };
    Ok(Target {
        services: target::after_failure(&now(input), &back.services),
        ..back.target(&chosen, &search.read)
    })
}

/// The releases of the stack, read as far as they make a difference.
struct Search<'a> {
    records: Records<'a>,
    /// Key of the record of the release that asks.
    own: &'a str,
    read: Vec<Release>,
    all: bool,
}

impl<'a> Search<'a> {
    fn new(table: &'a Table, input: &'a ChooseTargetInput) -> Self {
        let own = &input.plan.release;
        Self {
            records: table.records(&own.stack),
            own: &own.record,
            read: Vec::new(),
            all: false,
        }
    }

    async fn choose(&mut self, why: Why<'_>) -> Result<Choice, AwsRequestFailed> {
        self.further().await?;
        loop {
            let (read, all) = (self.read.as_slice(), self.all);
            if let Some(choice) = target::choose(why, Releases { read, all }) {
                return Ok(choice);
            }
            self.further().await?;
        }
    }

    /// Reads until something is known of the releases.
    async fn until(
        &mut self,
        known: impl Fn(Releases<'_>) -> Option<Vec<&Release>>,
    ) -> Result<Vec<Release>, AwsRequestFailed> {
        loop {
            let (read, all) = (self.read.as_slice(), self.all);
            if let Some(releases) = known(Releases { read, all }) {
                return Ok(releases.into_iter().cloned().collect());
            }
            self.further().await?;
        }
    }

    /// Reads one more, if there is one.
    async fn further(&mut self) -> Result<(), AwsRequestFailed> {
        while let Some(record) = self.records.next().await? {
            if record.key == self.own {
                continue;
            }
            if let Some(release) = Release::of(record) {
                self.read.push(release);
                return Ok(());
            }
        }
        self.all = true;
        Ok(())
    }
}

/// What the services go back to, as the records say.
struct Back {
    /// What they ran then.
    services: Vec<WantedRevision>,
    /// The images of that.
    images: Vec<String>,
    serving: Option<ServingImage>,
    /// They go back to what ran before this release, which was the first.
    first: Option<NamedRelease>,
}

impl Back {
    /// To what a release ran, or brought back.
    async fn to(
        table: &Table,
        input: &ChooseTargetInput,
        chosen: &Release,
    ) -> Result<Self, AwsRequestFailed> {
        let record = record(table, input, &chosen.record).await?;
        let services = record.map(|record| record.services).unwrap_or_default();
        let Some(first) = &chosen.restores_before else {
            let image = chosen.image.iter().map(|image| image.reference.clone());
            return Ok(Self {
                services,
                images: image.collect(),
                serving: chosen.serving(),
                first: None,
            });
        };
        // The record of the first release may be forgotten by now.
        let named = NamedRelease {
            record: first.clone(),
            repository: chosen.repository.clone(),
            tag: None,
            digest: None,
        };
        let first = record_of(table, input, first).await?;
        Ok(Self {
            services,
            images: first
                .as_ref()
                .map_or_else(Vec::new, |it| it.ran_before.clone()),
            serving: first.as_ref().and_then(Release::served_before),
            first: Some(first.as_ref().map_or(named, Release::named)),
        })
    }

    /// To what ran before the first release.
    async fn before(
        table: &Table,
        input: &ChooseTargetInput,
        first: &Release,
    ) -> Result<Self, AwsRequestFailed> {
        let record = record(table, input, &first.record).await?;
        let before = record.map(|record| record.before).unwrap_or_default();
        Ok(Self {
            services: before.iter().map(WantedRevision::from).collect(),
            images: first.ran_before.clone(),
            serving: first.served_before(),
            first: Some(first.named()),
        })
    }

    /// All but the services.
    fn target(self, chosen: &Release, read: &[Release]) -> Target {
        let release = match &self.first {
            Some(_) => None,
            None => chosen.good(),
        };
        let first = self.first.as_ref();
        let before = first.is_some_and(|first| first.record == chosen.record);
        Target {
            requested: false,
            release,
            taken_back: None,
            serving: self.serving,
            services: Vec::new(),
            migrations: target::migrations(read, chosen, before),
            unread: false,
            first: self.first,
        }
    }
}

async fn record(
    table: &Table,
    input: &ChooseTargetInput,
    key: &str,
) -> Result<Option<Record>, AwsRequestFailed> {
    table.record(&input.plan.release.stack, key).await
}

async fn record_of(
    table: &Table,
    input: &ChooseTargetInput,
    key: &str,
) -> Result<Option<Release>, AwsRequestFailed> {
    Ok(record(table, input, key).await?.and_then(Release::of))
}

/// What the services ran when the release was planned.
fn now(input: &ChooseTargetInput) -> Vec<WantedRevision> {
    let services = input.plan.services.iter();
    services.map(WantedRevision::from).collect()
}

fn to_before(input: &ChooseTargetInput, serving: Option<ServingImage>, unread: bool) -> Target {
    Target {
        requested: false,
        release: None,
        first: None,
        taken_back: None,
        serving,
        services: now(input),
        migrations: Vec::new(),
        unread,
    }
}

fn nothing(input: &ChooseTargetInput, reason: Reason) -> Failure {
    Failure::NothingToGoBackTo {
        stack: input.plan.release.stack.clone(),
        reason,
    }
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
