//! The machine that the figures are true of.

/// In one line.
pub fn describe(directory: &std::path::Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let kilobytes: f64 = value(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let system = value(&read("/etc/os-release").replace('=', ":"), "PRETTY_NAME");
    format!(
        "{cores} cores of {processor}, {:.0} GiB of memory, Linux {}, {}, caches on {}",
        kilobytes / f64::from(1 << 20),
        kernel.trim(),
        system.trim_matches('"'),
        file_system(directory)
    )
}

/// What kind of file system `directory` is on: the mount with the longest path above it.
fn file_system(directory: &std::path::Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        directory.starts_with(place).then_some((place.len(), kind))
    });
    above.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}
