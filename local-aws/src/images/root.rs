//! Paths inside a container as paths of this machine.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows in one path.
///
/// <https://man7.org/linux/man-pages/man7/path_resolution.7.html>
const LINKS: usize = 40;

enum Step {
    Root,
    Up,
    Into(OsString),
}

/// Where a path inside the container lies on this machine. A link leads to where it leads in the
/// container; neither a link nor `..` leads out of it. The path need not exist.
///
/// # Errors
/// Links that lead in a circle.
pub(crate) fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut found = PathBuf::new();
    let mut steps: VecDeque<Step> = steps(path).collect();
    let mut links = 0;
    while let Some(step) = steps.pop_front() {
        match step {
            Step::Root => found.clear(),
            Step::Up => {
                found.pop();
            }
            Step::Into(name) => {
                found.push(name);
                let Ok(target) = root.join(&found).read_link() else {
                    continue;
                };
                links += 1;
                if links > LINKS {
                    return Err(io::Error::other("too many levels of symbolic links"));
                }
                found.pop();
                for step in self::steps(&target).rev() {
                    steps.push_front(step);
                }
            }
        }
    }
    Ok(root.join(found))
}

fn steps(path: &Path) -> impl DoubleEndedIterator<Item = Step> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::ParentDir => Some(Step::Up),
        Component::RootDir => Some(Step::Root),
        Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_cannot_leave_the_container() {
        for (path, expected) in [
            ("/../../etc/passwd", "/r/etc/passwd"),
            ("app/../..", "/r/"),
            ("", "/r/"),
        ] {
            let found = inside(Path::new("/r"), Path::new(path)).unwrap();
            assert_eq!(found, Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_link_leads_to_where_it_leads_in_the_container() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        for (target, link) in [
            ("usr/bin", "bin"),
            ("/bin/busybox", "usr/bin/sh"),
            ("../../../../etc", "usr/out"),
            ("/", "usr/top"),
            ("circle", "circle"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        for (path, expected) in [
            ("/bin/sh", "usr/bin/busybox"),
            ("/usr/out/passwd", "etc/passwd"),
            ("/usr/top/bin/sh", "usr/bin/busybox"),
            ("/bin/../x", "usr/x"),
        ] {
            let found = inside(root, Path::new(path)).unwrap();
            assert_eq!(found, root.join(expected), "{path}");
        }
        let error = inside(root, Path::new("/circle/x")).unwrap_err();
        assert!(error.to_string().contains("symbolic links"), "{error}");
    }
}
