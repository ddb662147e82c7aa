//! An image of large layers that nobody has seen before, in a directory of the image specification's layout
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use sample::image::{digest, layer};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Each layer has one file of so many random bytes, which nothing makes smaller.
pub(crate) fn write(directory: &Path, layers: usize, bytes: usize) -> Result<()> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let mut random = File::open("/dev/urandom")?;
    let (mut described, mut contents) = (Vec::new(), Vec::new());
    for _ in 0..layers {
        let mut content = vec![0; bytes];
        random.read_exact(&mut content)?;
        let archive = layer(&[("data", content.as_slice(), 0o644)])?;
        contents.push(digest(&archive));
        let mut zipped = GzEncoder::new(Vec::new(), Compression::none());
        std::io::Write::write_all(&mut zipped, &archive)?;
        described.push(blob(&blobs, LAYER, &zipped.finish()?)?);
    }
    let config = json!({
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": contents},
    });
    let config = blob(&blobs, CONFIG, config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described,
    });
    let manifest = blob(&blobs, MANIFEST, manifest.to_string().as_bytes())?;
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(directory.join("index.json"), index.to_string())?;
    let layout = json!({"imageLayoutVersion": "1.0.0"});
    std::fs::write(directory.join("oci-layout"), layout.to_string())?;
    Ok(())
}

/// Writes a blob, and describes it.
fn blob(blobs: &Path, media_type: &str, content: &[u8]) -> Result<Value> {
    let digest = digest(content);
    std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), content)?;
    Ok(json!({"mediaType": media_type, "digest": digest, "size": content.len()}))
}
