//! The front end's files, read once at the start: no path of a request ever reaches the file system.

use std::collections::BTreeMap;
use std::path::Path;

const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 256;

/// Files by URL path.
#[derive(Debug, Default)]
pub struct Assets(BTreeMap<String, Asset>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

impl Assets {
    /// Reads the files directly in `folder` that a browser can use; the others are not served.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let failed =
            |error: std::io::Error| format!("can't read the folder of static files `{}`: {error}", folder.display());
        let mut assets = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            let Some(content_type) = content_type(&name) else {
                continue;
            };
            let metadata = entry.metadata().map_err(failed)?;
            if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
                continue;
            }
            if assets.len() == FILES_MAX {
                return Err(format!("`{}` has more than {FILES_MAX} files", folder.display()));
            }
            let bytes = std::fs::read(entry.path()).map_err(failed)?;
            assets.insert(format!("/{name}"), Asset { content_type, bytes });
        }
        Ok(Assets(assets))
    }

    pub fn find(&self, path: &str) -> Option<&Asset> {
        self.0.get(if path == "/" { "/index.html" } else { path })
    }
}

fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
