//! Coverage files in object storage: `gs://`, `s3://`, `az://`, and `file://` for a plain folder.
//!
//! podcov-agent writes there, podcov-collect and podcov-report read. An object is called
//! `<folder of the address>/<run>/<namespace>/<pod>/<container>/<start>/<file>`, see [`Origin`], and beside the files
//! of a start lies its `manifest.json`, see [`Manifest`], written after the files that it lists.

mod address;
mod error;
mod fetch;
mod manifest;
mod origin;
mod read;
mod retry;
mod write;

pub use address::{Address, Storage};
pub use error::Error;
pub use fetch::{Fetched, Limits};
pub use manifest::{MANIFEST, Manifest, StoredFile};
pub use origin::Origin;
pub use read::Start;
