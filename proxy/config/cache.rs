//! `[cache]`

use super::{Pattern, Size};
use std::{path::PathBuf, time::Duration};

/// What is kept, where and how long.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Where everything is kept. One process owns it. Default `larder-data`.
    pub directory: PathBuf,
    /// How much may be kept. Default 70% of the file system.
    pub size_max: Size,
    /// How much of the file system stays free, whoever fills it. Default 10%.
    pub free_min: Size,
    /// Within it a cached tag is served without asking upstream. Default 60 s.
    pub tag_ttl: Duration,
    /// Tags that are never asked for again once held.
    pub tags_immutable: Vec<Pattern>,
    /// A missing name is not asked for again within it. Default 10 s.
    pub missing_ttl: Duration,
    /// How old a tag may be served while upstream cannot answer. Default 30 days.
    pub stale_max: Duration,
    /// How long a tag that was deleted upstream stays served. Default 30 days.
    pub keep_deleted: Duration,
    /// Never dial anyone. Default `false`.
    pub offline: bool,
}
