//! Bodies that were packed for the way.

use std::io::Read;

/// Why a body can't be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the body can't be unpacked: {0}")]
    Broken(String),
}

/// A body by its `content-encoding`: gzip or deflate is unpacked, up to `bytes_max`; anything else is given back.
///
/// # Errors
/// See [`UnpackError`].
pub fn unpacked(body: Vec<u8>, encoding: Option<&str>, bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    let bound = bytes_max as u64 + 1;
    let read = match encoding.map(str::to_ascii_lowercase).as_deref() {
        Some("gzip" | "x-gzip") => flate2::read::MultiGzDecoder::new(&body[..])
            .take(bound)
            .read_to_end(&mut out),
        Some("deflate") => {
            let zlib = flate2::read::ZlibDecoder::new(&body[..])
                .take(bound)
                .read_to_end(&mut out);
            zlib.or_else(|_| {
                out.clear();
                flate2::read::DeflateDecoder::new(&body[..])
                    .take(bound)
                    .read_to_end(&mut out)
            })
        }
        _ => return Ok(body),
    };
    read.map_err(|error| UnpackError::Broken(error.to_string()))?;
    if out.len() > bytes_max {
        return Err(UnpackError::TooLarge { bytes_max });
    }
    Ok(out)
}
