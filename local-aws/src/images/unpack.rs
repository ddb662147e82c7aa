//! Layers of an image, one over the other, in a directory. Whatever a layer holds, nothing is written,
//! linked or deleted outside of it.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/layer.md>

use std::fs::{self, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use tar::{Entry, EntryType};

use super::root::inside;

/// What stands before the name of a file that a layer deletes.
const WHITEOUT: &str = ".wh.";
/// The whiteout of all that the layers below have in its directory.
const OPAQUE: &str = ".wh..wh..opq";
/// Whoever unpacks has to get into every directory, to fill it and to delete it.
const OWNERS: u32 = 0o700;

/// How the archive of a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

impl Compression {
    /// By the media type of a layer, in the words of the image specification or Docker's.
    ///
    /// # Errors
    /// A layer that cannot be unpacked here, with what it is.
    pub(super) fn of(media_type: &str) -> Result<Self, String> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Self::None),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Self::Gzip),
            other => Err(format!("unsupported layer media type {other:?}")),
        }
    }
}

/// Unpacks a layer over those below it.
pub(super) fn unpack_layer(layer: &Path, compression: Compression, root: &Path) -> io::Result<()> {
    let file = BufReader::new(fs::File::open(layer)?);
    let reader: Box<dyn Read> = match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
    };
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        unpack_entry(&mut entry, &path, root).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })?;
    }
    Ok(())
}

fn unpack_entry<R: Read>(entry: &mut Entry<'_, R>, path: &Path, root: &Path) -> io::Result<()> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::other("the path leads upward"));
    }
    // The root itself has no name.
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    let parent = inside(root, path.parent().unwrap_or(Path::new("")))?;
    let deleted = name.to_str().and_then(|name| name.strip_prefix(WHITEOUT));
    if name == OPAQUE {
        return empty(&parent);
    } else if let Some(deleted) = deleted {
        return remove(&parent.join(deleted));
    }
    fs::create_dir_all(&parent)?;
    let target = parent.join(name);
    match entry.header().entry_type() {
        EntryType::Directory => {
            if !is_directory(&target) {
                remove(&target)?;
                fs::create_dir(&target)?;
            }
            let mode = entry.header().mode()? & 0o777 | OWNERS;
            fs::set_permissions(&target, Permissions::from_mode(mode))
        }
        EntryType::Link => {
            let source = hard_linked(entry, root)?;
            if source == target {
                return Ok(());
            }
            remove(&target)?;
            fs::hard_link(source, target)
        }
        // Nobody but root may make them, and no application needs its own.
        EntryType::Block | EntryType::Char | EntryType::Fifo => Ok(()),
        _ => {
            remove(&target)?;
            // Bits that let a program act as its owner are left out: the owner is who runs this.
            entry.unpack(&target)?;
            Ok(())
        }
    }
}

/// The file that a hard link is another name of. The file itself may be a link, which is not followed.
fn hard_linked<R: Read>(entry: &Entry<'_, R>, root: &Path) -> io::Result<PathBuf> {
    let path = entry.link_name()?;
    let path = path.ok_or_else(|| io::Error::other("a hard link to nothing"))?;
    let name = path.file_name();
    let name = name.ok_or_else(|| io::Error::other("a hard link to no file"))?;
    let parent = inside(root, path.parent().unwrap_or(Path::new("")))?;
    Ok(parent.join(name))
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Removes what is there, a link itself and not what it leads to.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn empty(directory: &Path) -> io::Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        remove(&entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use tempfile::TempDir;

    use super::*;

    /// An entry of a layer: kind, path, and its content or what it links to.
    type Made<'a> = (EntryType, &'a str, &'a str);

    const FILE: EntryType = EntryType::Regular;
    const DIRECTORY: EntryType = EntryType::Directory;
    const LINK: EntryType = EntryType::Symlink;
    const HARD_LINK: EntryType = EntryType::Link;

    /// A directory in which `root` is the container's, and `outside` is not.
    fn stand() -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/precious"), "kept").unwrap();
        directory
    }

    fn archive(entries: &[Made<'_>], mode: u32) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, path, text) in entries {
            let (content, target) = match *kind {
                LINK | HARD_LINK => ("", *text),
                _ => (*text, ""),
            };
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            // As they stand: the builder's own methods refuse what a hostile archive has.
            let names = header.as_gnu_mut().unwrap();
            names.name[..path.len()].copy_from_slice(path.as_bytes());
            names.linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn unpack(directory: &TempDir, entries: &[Made<'_>]) -> io::Result<()> {
        let layer = directory.path().join("layer");
        fs::write(&layer, archive(entries, 0o755)).unwrap();
        unpack_layer(&layer, Compression::None, &directory.path().join("root"))
    }

    fn read(directory: &TempDir, path: &str) -> Option<String> {
        fs::read_to_string(directory.path().join(path)).ok()
    }

    #[test]
    fn a_later_layer_deletes_with_a_whiteout() {
        let stand = stand();
        let first = [
            (FILE, "app/old", "1"),
            (FILE, "app/kept", "1"),
            (FILE, "data/x", "1"),
            (FILE, "data/deep/y", "1"),
        ];
        unpack(&stand, &first).unwrap();
        let second = [
            (FILE, "app/.wh.old", ""),
            (FILE, "data/.wh..wh..opq", ""),
            (FILE, "data/new", "2"),
            (FILE, "nowhere/.wh.x", ""),
        ];
        unpack(&stand, &second).unwrap();
        assert_eq!(read(&stand, "root/app/kept").as_deref(), Some("1"));
        assert_eq!(read(&stand, "root/data/new").as_deref(), Some("2"));
        for gone in ["app/old", "data/x", "data/deep", "nowhere"] {
            assert!(!stand.path().join("root").join(gone).exists(), "{gone}");
        }
    }

    #[test]
    fn a_later_layer_replaces_whatever_has_its_name() {
        let stand = stand();
        let first = [
            (FILE, "file", "1"),
            (FILE, "directory/x", "1"),
            (LINK, "link", "file"),
            (DIRECTORY, "same/", ""),
            (FILE, "same/x", "1"),
        ];
        unpack(&stand, &first).unwrap();
        let second = [
            (FILE, "file/x", ""),
            (FILE, "directory", "2"),
            (FILE, "link", "2"),
            (DIRECTORY, "same/", ""),
        ];
        assert!(unpack(&stand, &second[..1]).is_err());
        unpack(&stand, &second[1..]).unwrap();
        assert_eq!(read(&stand, "root/directory").as_deref(), Some("2"));
        assert_eq!(read(&stand, "root/link").as_deref(), Some("2"));
        assert_eq!(read(&stand, "root/file").as_deref(), Some("1"));
        assert_eq!(read(&stand, "root/same/x").as_deref(), Some("1"));
    }

    #[test]
    fn links_inside_the_image_are_followed_there_and_hard_links_share_their_file() {
        let stand = stand();
        let layer = [
            (DIRECTORY, "usr/", ""),
            (LINK, "lib", "/usr"),
            (FILE, "lib/x", "1"),
            (HARD_LINK, "usr/same", "/lib/x"),
        ];
        unpack(&stand, &layer).unwrap();
        assert_eq!(read(&stand, "root/usr/x").as_deref(), Some("1"));
        assert_eq!(read(&stand, "root/usr/same").as_deref(), Some("1"));
    }

    /// The ways out that archives have had: CVE-2001-1267, CVE-2018-15664, CVE-2021-32803 and their kin.
    #[test]
    fn nothing_is_written_linked_or_deleted_outside() {
        let directory = stand();
        let outside = directory.path().join("outside");
        let (outside, precious) = (outside.display().to_string(), "outside/precious");
        let absolute = directory.path().join(precious).display().to_string();
        let ways_out: [&[Made<'_>]; 8] = [
            &[(FILE, "../outside/precious", "lost")],
            &[(FILE, "app/../../outside/precious", "lost")],
            &[(FILE, &absolute, "lost")],
            &[(LINK, "out", &outside), (FILE, "out/precious", "lost")],
            &[(LINK, "up", "../outside"), (FILE, "up/precious", "lost")],
            &[(LINK, "out", &outside), (FILE, "out/.wh.precious", "")],
            &[(LINK, "out", &outside), (FILE, "out/.wh..wh..opq", "")],
            &[
                (LINK, "file", &absolute),
                (FILE, "file", "lost"),
                (HARD_LINK, "hard", "../../outside/precious"),
            ],
        ];
        for way_out in ways_out {
            // Some are refused, others end inside.
            unpack(&directory, way_out).ok();
            assert_eq!(read(&directory, precious).as_deref(), Some("kept"));
            let inside = fs::remove_dir_all(directory.path().join("root"));
            inside
                .and_then(|()| fs::create_dir(directory.path().join("root")))
                .unwrap();
        }
        let entries = fs::read_dir(directory.path().join("outside")).unwrap();
        assert_eq!(entries.count(), 1);
    }

    #[test]
    fn no_program_acts_as_its_owner() {
        let stand = stand();
        let layer = stand.path().join("layer");
        fs::write(&layer, archive(&[(FILE, "su", "")], 0o6755)).unwrap();
        let root = stand.path().join("root");
        unpack_layer(&layer, Compression::None, &root).unwrap();
        let mode = fs::metadata(root.join("su")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }

    #[test]
    fn a_compressed_layer_is_unpacked_and_a_broken_one_is_not() {
        let stand = stand();
        let (layer, root) = (stand.path().join("layer"), stand.path().join("root"));
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&archive(&[(FILE, "x", "1")], 0o644))
            .unwrap();
        let mut bytes = gzip.finish().unwrap();
        fs::write(&layer, &bytes).unwrap();
        unpack_layer(&layer, Compression::Gzip, &root).unwrap();
        assert_eq!(read(&stand, "root/x").as_deref(), Some("1"));
        bytes.truncate(bytes.len() / 2);
        fs::write(&layer, &bytes).unwrap();
        assert!(unpack_layer(&layer, Compression::Gzip, &root).is_err());
    }

    #[test]
    fn a_layer_says_how_it_is_compressed() {
        for (media_type, expected) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                Compression::Gzip,
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Compression::Gzip,
            ),
        ] {
            assert_eq!(Compression::of(media_type), Ok(expected));
        }
        let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
        assert!(Compression::of(zstd).unwrap_err().contains(zstd));
    }
}
