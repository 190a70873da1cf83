//! What the system says of this process, where it says it as Linux does.

use std::fs;

/// As it is now. What cannot be read is not told.
#[derive(Debug, Default)]
pub struct Process {
    /// Seconds of all threads.
    pub cpu: Option<f64>,
    /// Resident bytes.
    pub memory: Option<f64>,
    pub descriptors: Option<f64>,
}

impl Process {
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok();
        Self {
            cpu: cpu(),
            memory: resident(&status),
            descriptors: open.map(|open| open.count() as f64),
        }
    }
}

fn cpu() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_told_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12288.0));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
