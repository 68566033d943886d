//! The nouns of the OCI distribution and image specifications, valid once parsed.
//!
//! Text from a wire, a file or a command line becomes one of these types at the edge and nobody checks it again.
//! Nothing here does I/O.

mod descriptor;
mod digest;
mod error;
mod error_code;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod registry;
mod repository;
mod tag;
mod target;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher};
pub use error::{Error, Problem};
pub use error_code::ErrorCode;
pub use manifest::{Content, MANIFEST_SIZE_BYTES_MAX, Manifest};
pub use media_type::MediaType;
pub use platform::Platform;
pub use reference::Reference;
pub use registry::Registry;
pub use repository::Repository;
pub use tag::Tag;
pub use target::Target;
