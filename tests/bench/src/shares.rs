//! The share of a processor that Lambda gives a function of a size, by a cgroup's quota, and what a
//! call costs there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use bench::median;

use crate::report::{milliseconds, short};
use crate::subject::{Sample, Subject};

/// Sizes of a function that are compared, in MB.
pub(crate) const SIZES: [u32; 3] = [128, 256, 512];
/// Memory that comes with one whole processor, in MB
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>).
const WHOLE: u32 = 1769;
/// In which a quota is spent. Lambda's own is not documented.
const PERIOD: Duration = Duration::from_millis(20);
/// Between two warm calls, so that each finds its share untouched: a pipeline's calls come seconds
/// apart.
pub(crate) const PAUSE: Duration = Duration::from_millis(60);

/// Lambda's list price on arm64 in us-east-1, in dollars
/// (<https://aws.amazon.com/lambda/pricing/>).
const GIGABYTE_SECOND: f64 = 0.000_013_333_4;
const REQUEST: f64 = 0.000_000_2;

/// A group of processes with a share of a processor; gone with this value.
pub(crate) struct Share {
    directory: PathBuf,
}

impl Share {
    /// The share of a function of `size` MB.
    ///
    /// # Errors
    /// The system has no cgroups that this process may write.
    pub(crate) fn of(size: u32) -> Result<Self> {
        let name = format!("bluegreen-bench-{}-{size}", std::process::id());
        let quota = quota(size);
        let first = Path::new("/sys/fs/cgroup/cpu");
        if first.join("cpu.cfs_quota_us").is_file() {
            let share = Self::make(&first.join(name))?;
            share.write("cpu.cfs_period_us", &PERIOD.as_micros().to_string())?;
            share.write("cpu.cfs_quota_us", &quota.as_micros().to_string())?;
            return Ok(share);
        }
        let share = Self::make(&Path::new("/sys/fs/cgroup").join(name))?;
        let limits = format!("{} {}", quota.as_micros(), PERIOD.as_micros());
        share.write("cpu.max", &limits)?;
        Ok(share)
    }

    fn make(directory: &Path) -> Result<Self> {
        fs::create_dir(directory)
            .with_context(|| format!("cannot make the cgroup {}", directory.display()))?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let file = self.directory.join(file);
        // One that is not there is not made.
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).open(&file);
        opened
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The same function within the share, from its first instruction on.
    pub(crate) fn around(&self, subject: &Subject) -> Subject {
        let procs = self.directory.join("cgroup.procs").into_os_string();
        let enter = r#"echo $$ > "$0" && exec "$@""#;
        let under = ["/bin/sh", "-c", enter].into_iter().map(OsString::from);
        Subject {
            under: under.chain([procs]).collect(),
            ..subject.clone()
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Its processes have ended.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Of each period.
fn quota(size: u32) -> Duration {
    PERIOD * size / WHOLE
}

/// A function at one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sized {
    /// In MB.
    size: u32,
    /// Medians, in milliseconds.
    warm: f64,
    first: f64,
    /// Dollars for a million calls.
    warm_price: f64,
    first_price: f64,
}

impl Sized {
    /// `None` of no sample. A first call is charged with the init before it.
    pub(crate) fn of(size: u32, samples: &[Sample]) -> Option<Self> {
        let firsts = || samples.iter().map(|sample| sample.init + sample.first);
        let warm = || {
            samples
                .iter()
                .flat_map(|sample| sample.warm.iter().copied())
        };
        Some(Self {
            size,
            warm: median(warm().map(milliseconds))?,
            first: median(firsts().map(milliseconds))?,
            warm_price: price_of_a_million(size, warm())?,
            first_price: price_of_a_million(size, firsts())?,
        })
    }
}

/// Each call is charged by the millisecond begun; the mean of them all.
fn price_of_a_million(size: u32, calls: impl Iterator<Item = Duration>) -> Option<f64> {
    let charged: Vec<f64> = calls.map(|call| milliseconds(call).ceil() / 1e3).collect();
    let mean = charged.iter().sum::<f64>() / charged.len() as f64;
    let gigabytes = f64::from(size) / 1024.0;
    let price = (mean * gigabytes * GIGABYTE_SECOND + REQUEST) * 1e6;
    price.is_finite().then_some(price)
}

/// The table as Markdown.
pub(crate) fn table(functions: &[(String, Vec<Sized>)]) -> String {
    let of_sizes = |what: &str| SIZES.map(|size| format!("{what} at {size} MB")).join(" | ");
    let mut text = format!(
        "| function | {} | {} | cheapest warm | cheapest first |\n|---|{}---|---|\n",
        of_sizes("warm call, ms / $ a million"),
        of_sizes("init and first call, ms / $ a million"),
        "---|".repeat(2 * SIZES.len())
    );
    for (name, sizes) in functions {
        let cells = |of: fn(&Sized) -> (f64, f64)| {
            let cell = |sized| {
                let (time, price) = of(sized);
                format!("{} / {price:.3}", short(time))
            };
            sizes.iter().map(cell).collect::<Vec<_>>().join(" | ")
        };
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {} |\n",
            cells(|sized| (sized.warm, sized.warm_price)),
            cells(|sized| (sized.first, sized.first_price)),
            cheapest(sizes, |sized| sized.warm_price),
            cheapest(sizes, |sized| sized.first_price),
        ));
    }
    text
}

/// The smaller one of two that cost the same.
fn cheapest(sizes: &[Sized], price: fn(&Sized) -> f64) -> String {
    let first = sizes
        .iter()
        .min_by(|left, right| price(left).total_cmp(&price(right)));
    first.map_or_else(|| "–".to_owned(), |sized| format!("{} MB", sized.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_the_memory() {
        assert_eq!(quota(WHOLE), PERIOD);
        assert_eq!(quota(128).as_micros(), 1447);
        assert_eq!(quota(512).as_micros(), 5788);
    }

    #[test]
    fn a_call_costs_its_request_and_every_millisecond_begun() {
        let calls = [200, 2_100].map(Duration::from_micros);
        let price = price_of_a_million(512, calls.into_iter()).unwrap();
        // 1 ms and 3 ms of half a gigabyte, and the request.
        let expected = (0.002 * 0.5 * GIGABYTE_SECOND + REQUEST) * 1e6;
        assert!((price - expected).abs() < 1e-9, "{price}");
        assert_eq!(price_of_a_million(512, std::iter::empty()), None);
    }

    #[test]
    fn the_cheapest_size_is_told_for_warm_and_for_first_calls() {
        let sized = |size, warm_price, first_price| Sized {
            size,
            warm: 0.5,
            first: 20.0,
            warm_price,
            first_price,
        };
        let sizes = vec![
            sized(128, 0.2, 0.5),
            sized(256, 0.2, 0.4),
            sized(512, 0.3, 0.6),
        ];
        let table = table(&[("wait-task".to_owned(), sizes)]);
        let row = table.lines().last().unwrap();
        assert!(row.starts_with("| wait-task | 0.50 / 0.200 |"), "{row}");
        assert!(row.ends_with("| 128 MB | 256 MB |"), "{row}");
        let columns = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| columns(line) == columns(row)));
    }
}
