//! How much memory the local AWS has resident: its own process and moto's.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The processes of a local AWS that are not its tasks.
pub struct Processes {
    local_aws: u32,
    moto: u32,
}

/// Of both processes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    pub local_aws: Resident,
    pub moto: Resident,
}

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resident {
    pub now: u64,
    /// The most there ever was.
    pub peak: u64,
}

impl Processes {
    /// Finds moto among the children of `local_aws`.
    ///
    /// # Errors
    /// There is none, or the system has no /proc, as Linux has.
    pub fn of(local_aws: u32) -> Result<Self> {
        let mut children = Vec::new();
        let threads = PathBuf::from(format!("/proc/{local_aws}/task"));
        for thread in std::fs::read_dir(threads).context("memory is measured on Linux only")? {
            let listed = std::fs::read_to_string(thread?.path().join("children"))?;
            children.extend(
                listed
                    .split_whitespace()
                    .map(str::parse)
                    .collect::<Result<Vec<u32>, _>>()?,
            );
        }
        let is_moto = |child: &u32| {
            let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|argument| argument == b"glue.server")
        };
        let moto = children.into_iter().find(is_moto);
        let moto = moto.context("the local AWS runs no moto")?;
        Ok(Self { local_aws, moto })
    }

    /// # Errors
    /// One of them has ended.
    pub fn memory(&self) -> Result<Memory> {
        Ok(Memory {
            local_aws: resident(self.local_aws)?,
            moto: resident(self.moto)?,
        })
    }
}

fn resident(process: u32) -> Result<Resident> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse(&status).with_context(|| format!("{path} tells no memory"))
}

fn parse(status: &str) -> Option<Resident> {
    let field = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Resident {
        now: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_how_much_memory_a_process_has_and_had() {
        let status = "Name:\tlocal-aws\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        let expected = Resident {
            now: 10 << 20,
            peak: 20 << 20,
        };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name:\tzombie\n"), None);
    }
}
