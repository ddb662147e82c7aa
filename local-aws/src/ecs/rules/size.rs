//! CPU and memory of a task.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::ecs::model::error::ApiError;
use crate::ecs::model::task_definitions::EphemeralStorage;
use crate::ecs::model::values::Object;

/// The ephemeral storage that can be asked for, in GiB.
const STORAGE: RangeInclusive<i64> = 21..=200;

/// A CPU, in units, the smallest and the largest memory for it, and the step between, in MiB.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size>
const FARGATE: [(u64, u64, u64, u64); 7] = [
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16384, 1024),
    (4096, 8192, 30720, 1024),
    (8192, 16384, 61440, 4096),
    (16384, 32768, 122_880, 8192),
];
/// The one hole in the steps: 0.25 vCPU has no 1.5 GB.
const NOT_FARGATE: (u64, u64) = (256, 1536);

/// Whether Fargate has tasks of that size.
pub(in crate::ecs) fn is_fargate(cpu: Option<&str>, memory: Option<&str>) -> bool {
    let (Some(cpu), Some(memory)) = (cpu.and_then(cpu_units), memory.and_then(mebibytes)) else {
        return false;
    };
    (cpu, memory) != NOT_FARGATE
        && FARGATE.iter().any(|(units, smallest, largest, step)| {
            *units == cpu
                && (*smallest..=*largest).contains(&memory)
                && (memory - smallest).is_multiple_of(*step)
        })
}

/// What ECS says where Fargate has no such size.
pub(in crate::ecs) fn no_configuration(cpu: Option<&str>, memory: Option<&str>) -> String {
    format!(
        "No Fargate configuration exists for given values: {} CPU, {} memory.",
        cpu.unwrap_or("no"),
        memory.unwrap_or("no")
    )
}

/// Refuses a storage that Fargate cannot give.
pub(in crate::ecs) fn validate_storage(storage: Option<&EphemeralStorage>) -> Result<(), ApiError> {
    match storage {
        Some(storage) if !STORAGE.contains(&storage.size) => {
            Err(ApiError::invalid_parameter(format!(
                "ephemeralStorage must be between {} and {} GiB.",
                STORAGE.start(),
                STORAGE.end()
            )))
        }
        _ => Ok(()),
    }
}

/// Writes `cpu` and `memory` as numbers of units and MiB, as ECS does when it registers a task
/// definition that says `1 vCPU` or `2 GB`.
pub(in crate::ecs) fn normalize(document: &mut Object) {
    let read = |name: &str, read: fn(&str) -> Option<u64>| {
        document.get(name).and_then(Value::as_str).and_then(read)
    };
    let sizes = [
        ("cpu", read("cpu", cpu_units)),
        ("memory", read("memory", mebibytes)),
    ];
    for (name, size) in sizes {
        if let Some(size) = size {
            document.insert(name.to_owned(), json!(size.to_string()));
        }
    }
}

fn cpu_units(text: &str) -> Option<u64> {
    number(text, "vcpu")
}

fn mebibytes(text: &str) -> Option<u64> {
    number(text, "gb")
}

/// A whole number, or one with a unit that is 1024 times as much.
fn number(text: &str, unit: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let Some(large) = text.strip_suffix(unit) else {
        return text.parse().ok();
    };
    let large: f64 = large.trim().parse().ok()?;
    // The largest task has 120 GB.
    (0.0..=1024.0)
        .contains(&large)
        .then(|| (large * 1024.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fargate_has_certain_sizes() {
        for (cpu, memory) in [
            ("256", "512"),
            ("256", "2048"),
            (".25 vCPU", "0.5 GB"),
            ("512", "3072"),
            ("1 vCPU", "2GB"),
            ("4096", "30720"),
            ("8192", "20480"),
            ("16384", "122880"),
        ] {
            assert!(is_fargate(Some(cpu), Some(memory)), "{cpu}, {memory}");
        }
        for (cpu, memory) in [
            ("256", "1536"),
            ("256", "4096"),
            ("512", "512"),
            ("1024", "1024"),
            ("1000", "2048"),
            ("8192", "17408"),
            ("much", "512"),
        ] {
            assert!(!is_fargate(Some(cpu), Some(memory)), "{cpu}, {memory}");
        }
        assert!(!is_fargate(None, Some("512")));
    }

    #[test]
    fn a_registered_size_is_a_number() {
        let size = json!({"cpu": "1 vCPU", "memory": "2 GB"});
        let mut document = size.as_object().cloned().unwrap();
        normalize(&mut document);
        let expected = json!({"cpu": "1024", "memory": "2048"});
        assert_eq!(Value::Object(document), expected);
    }
}
